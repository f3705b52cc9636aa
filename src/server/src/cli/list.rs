//! `hapax list`: the records of an operation.

use super::args::{Globals, operation};
use super::session::Session;
use super::values;
use clap::Args;
use hapax_core::request::{Ask, ListAsk};
use hapax_core::view::Row;
use hapax_core::{Address, Operation, Reply, StateKind, limits};

/// List an operation's records, shard by shard
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax list payments.charge --state in_doubt
  hapax list payments.charge --limit 1000 --json | jq -r '.rows[].key'")]
pub(super) struct ListArgs {
    /// What is done once: payments.charge
    #[arg(value_name = "OPERATION", value_parser = operation)]
    pub(super) operation: Operation,
    /// Only in this state: claimed, open, in_doubt, completed or spent
    #[arg(long, value_name = "STATE", value_parser = values::state)]
    pub(super) state: Option<StateKind>,
    /// The most records shown
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) limit: u32,
}

/// What was read.
pub(super) struct Listed {
    /// The rows, shard by shard.
    pub(super) rows: Vec<Row>,
    /// There are more.
    pub(super) more: bool,
    /// Shards that could not answer, and why.
    pub(super) failed: Vec<(u32, hapax_client::Error)>,
}

impl ListArgs {
    /// Reads every shard until there are enough rows. A shard that does not answer hides no other.
    pub(super) async fn rows(&self, globals: &Globals, session: &Session) -> anyhow::Result<Listed> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut listed = Listed { rows: Vec::new(), more: false, failed: Vec::new() };
        for shard in 0..session.shards() {
            let mut after: Option<Address> = None;
            loop {
                let answer = match session.call(self.ask(globals, shard, after.take())).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        listed.failed.push((shard, error));
                        break;
                    }
                };
                let Reply::Page(page) = answer.reply else {
                    anyhow::bail!("a listing was answered with {}", answer.reply.name());
                };
                listed.rows.extend(page.rows);
                // One row more than wanted tells that there are more.
                if listed.rows.len() > limit {
                    listed.rows.truncate(limit);
                    listed.more = true;
                    return Ok(listed);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(listed)
    }

    fn ask(&self, globals: &Globals, shard: u32, after: Option<Address>) -> Ask {
        Ask::List(ListAsk {
            shard,
            tenant: globals.tenant.clone(),
            operation: Some(self.operation.clone()),
            state: self.state,
            after,
            limit: self.limit.saturating_add(1).min(limits::LIST_ROWS),
        })
    }
}
