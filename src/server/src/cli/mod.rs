//! The command line: one file a command.
//!
//! Contract: what a command prints and its exit status are stable, since scripts depend on them;
//! see [`exit`] for the statuses. Answers go to standard output, hints and errors for people to
//! standard error.

mod args;
mod claim;
mod complete;
mod dev;
pub mod exit;
mod forget;
mod get;
mod input;
mod list;
mod release;
mod render;
mod renew;
mod resolve;
mod run;
mod server;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod values;

use crate::server::World;
use args::Globals;
use clap::{Parser, Subcommand};
use exit::Exit;
use hapax_core::{Answer, Ask, ErrorCode, Reply};
use render::{Screen, Shown};
use session::{Session, shown};
use std::ffi::OsString;

/// Hapax: each key is granted once
///
/// A distributed, sharded idempotency store: ask before you act, and every retry is answered with what the
/// first attempt gave.
#[derive(Parser, Debug)]
#[command(
    name = "hapax",
    version,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  hapax dev                                    a cluster of three nodes on this machine
  hapax claim payments.charge order-991        granted: a token, and the right to run
  echo paid | hapax complete payments.charge order-991 --token TOKEN --result -
  hapax claim payments.charge order-991        replayed: the result, and exit status 10

Exit status: 0 granted or done, 10 replayed, 11 in flight, 12 in doubt, 13 mismatch, 14 spent,
15 fenced, 16 conflict, 17 ended, 18 too old, 1 error, 2 usage."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Subcommand, Debug)]
enum Command {
    Dev(dev::DevArgs),
    Server(Box<server::ServerArgs>),
    Claim(claim::ClaimArgs),
    Renew(renew::RenewArgs),
    Complete(complete::CompleteArgs),
    Release(release::ReleaseArgs),
    Get(get::GetArgs),
    List(list::ListArgs),
    Resolve(resolve::ResolveArgs),
    Forget(forget::ForgetArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
}

/// Parses the command line, does what it says, and tells how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    run_in(arguments, World::real)
}

/// Like [`run`]; a node lives in the world that `world` makes when it starts.
pub fn run_in(arguments: impl IntoIterator<Item = OsString>, world: impl FnOnce() -> World) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap prints those to standard output.
            let _closed = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let screen = Screen { json: cli.globals.json };
    let ended = match &cli.command {
        Command::Server(args) => args.run(screen, world),
        _ => client_side(&cli, screen),
    };
    match ended {
        Ok(exit) => exit,
        Err(error) => fail(screen, &error),
    }
}

/// Shows what went wrong.
fn fail(screen: Screen, error: &anyhow::Error) -> Exit {
    let _closed = match error.downcast_ref::<hapax_client::Error>() {
        Some(error) => screen.error(&shown(error)),
        // Found on this side, before anything was sent.
        None if screen.json => {
            let text = format!("{error:#}");
            screen.error(&Shown { code: ErrorCode::Invalid, definite: true, text: &text, field: None })
        }
        None => screen.err(&format!("error: {error:#}\n")),
    };
    Exit::Error
}

fn client_side(cli: &Cli, screen: Screen) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let globals = &cli.globals;
        match &cli.command {
            Command::Dev(args) => args.run(globals, screen).await,
            Command::Run(args) => args.run(globals, screen).await,
            Command::Status(args) => args.run(globals, screen).await,
            command => {
                let session = Session::open(globals).await?;
                verb(command, globals, &session, screen).await
            }
        }
    })
}

async fn verb(
    command: &Command,
    globals: &Globals,
    session: &Session,
    screen: Screen,
) -> anyhow::Result<Exit> {
    let ask = match command {
        Command::Claim(args) => args.ask(globals, session.nonce()?)?,
        Command::Renew(args) => args.ask(globals, session.wall_ms())?,
        Command::Complete(args) => args.ask(globals)?,
        Command::Release(args) => args.ask(globals)?,
        Command::Resolve(args) => args.ask(globals)?,
        Command::Get(args) => args.ask(globals)?,
        Command::Forget(args) => forget(args, globals, session).await?,
        Command::List(args) => {
            let listed = args.rows(globals, session).await?;
            let failed: Vec<u32> = listed.failed.iter().map(|(shard, _)| *shard).collect();
            screen.rows(&listed.rows, listed.more, &failed)?;
            for (shard, error) in &listed.failed {
                screen.err(&format!("shard {shard} is missing: {error}\n"))?;
            }
            return Ok(if failed.is_empty() { Exit::Ok } else { Exit::Error });
        }
        Command::Dev(_) | Command::Server(_) | Command::Run(_) | Command::Status(_) => {
            anyhow::bail!("not a verb of the protocol")
        }
    };
    let answer = session.call(ask).await?;
    let next = match command {
        Command::Claim(args) => args.next(&answer.reply),
        _ => None,
    };
    screen.answer(&answer, next.as_deref())?;
    Ok(Exit::of(&answer))
}

/// The last token is read from the record, unless it was given.
async fn forget(args: &forget::ForgetArgs, globals: &Globals, session: &Session) -> anyhow::Result<Ask> {
    let token = match args.token {
        Some(token) => token,
        None => match session.call(args.look(globals)).await? {
            Answer { reply: Reply::State(view), .. } => view.token,
            Answer { reply, .. } => anyhow::bail!("a get was answered with {}", reply.name()),
        },
    };
    args.ask(globals, token)
}
