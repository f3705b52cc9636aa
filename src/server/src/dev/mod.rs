//! A whole cluster on one machine.
//!
//! Contract: every node is a process of this same program with its own directory under the plan's;
//! a node that dies is started again, with a growing pause; all of them end when this process does,
//! however it ends: each holds the other end of a pipe from it, and stops when that closes.
//! Directories are made and emptied only if they are this command's own.

mod files;
mod plan;
mod ready;
mod supervise;

pub use plan::Plan;

use anyhow::Context as _;
use std::time::Duration;
use supervise::Cluster;
use tokio::signal::unix::{SignalKind, signal};

/// How long the nodes may take to become ready at first.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs the cluster until SIGINT or SIGTERM. `say` shows a line to the user.
///
/// # Errors
/// When a port is taken, the directory belongs to something else or to another plan, or the nodes
/// do not become ready.
pub async fn run(plan: &Plan, reset: bool, ask_within: Duration, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let _only_one = files::prepare(plan, reset)?;
    plan.check_ports()?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terms = signal(SignalKind::terminate())?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    say(&format!("starting {} nodes in {}", plan.nodes, plan.dir.display()));
    let mut cluster = Cluster::start(plan, program, say)?;
    let ready = async {
        // Shown on a terminal only.
        let spinner = indicatif::ProgressBar::new_spinner();
        spinner.enable_steady_tick(Duration::from_millis(100));
        let waits = |why| spinner.set_message(why);
        let waited = tokio::time::timeout(READY_WITHIN, ready::all(plan, ask_within, &waits)).await;
        spinner.finish_and_clear();
        match waited {
            Ok(()) => say(&plan.welcome()),
            Err(_) => say(&format!(
                "the nodes are not ready after {} s; their logs are in {}",
                READY_WITHIN.as_secs(),
                plan.dir.display()
            )),
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = cluster.supervise() => ended,
        () = ready => Ok(()),
        _ = interrupts.recv() => Ok(()),
        _ = terms.recv() => Ok(()),
    };
    say("stopping the nodes");
    tokio::select! {
        () = cluster.stop() => {}
        // Asked twice: at once. Dropping the cluster kills what is left of it.
        _ = interrupts.recv() => {}
        _ = terms.recv() => {}
    }
    ended
}
