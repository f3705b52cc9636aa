//! What execute is tested with: a node that grants, renews, completes and releases.

use crate::world::{Act, Seen, World};
use hapax_client::{Ask, Client, Execute, Token, address, fingerprint};
use hapax_core::reply::{CompletedReply, Granted, Renewed};
use hapax_core::request::{CompleteAsk, ReleaseAsk, RenewAsk};
use hapax_core::{LogTime, Reply};
use std::sync::Arc;
use tokio::time::Instant;

pub(crate) const TOKEN: u64 = 77;
pub(crate) const LEASE_MS: u64 = 3000;

pub(crate) fn grant() -> Granted {
    Granted {
        token: Token::from(TOKEN),
        attempt: 1,
        lease_ms: LEASE_MS,
        lease_left_ms: LEASE_MS,
        checkpoint: None,
        takeover: false,
        prior_mark: false,
        recovered: false,
        shadow_of: None,
    }
}

/// The plain reply to a holder's verb.
pub(crate) fn hold(seen: &Seen) -> Act {
    Act::Reply(match &seen.request.ask {
        Ask::Claim(_) => Reply::Granted(grant()),
        Ask::Renew(ask) => {
            Reply::Renewed(Renewed { deadline: LogTime(9), lease_left_ms: LEASE_MS, marked: ask.mark })
        }
        Ask::Complete(_) => Reply::Completed(CompletedReply { late: false, expires_at: LogTime(99) }),
        Ask::Release(_) => Reply::Released,
        _ => Reply::Fenced,
    })
}

/// A world whose nodes answer `special` where it has an answer, and hold otherwise.
pub(crate) async fn holding(
    mut special: impl FnMut(&Seen) -> Option<Act> + Send + 'static,
) -> (Arc<World>, Client) {
    let world = World::new(1, 1, move |seen| special(seen).unwrap_or_else(|| hold(seen)));
    let client = world.default_client().await;
    (world, client)
}

pub(crate) fn execute(client: &Client) -> Execute {
    client.execute(address("t", "o", "k").expect("ok"), fingerprint::bytes(b"x"))
}

/// The verbs that arrived, by name.
pub(crate) fn verbs(world: &World) -> Vec<&'static str> {
    world.calls().iter().map(|seen| seen.request.ask.name()).collect()
}

pub(crate) fn renewals(world: &World) -> Vec<(Instant, RenewAsk)> {
    let renewals = world.calls().into_iter().filter_map(|seen| match seen.request.ask {
        Ask::Renew(ask) => Some((seen.at, ask)),
        _ => None,
    });
    renewals.collect()
}

pub(crate) fn completes(world: &World) -> Vec<CompleteAsk> {
    let completes = world.calls().into_iter().filter_map(|seen| match seen.request.ask {
        Ask::Complete(ask) => Some(ask),
        _ => None,
    });
    completes.collect()
}

pub(crate) fn releases(world: &World) -> Vec<ReleaseAsk> {
    let releases = world.calls().into_iter().filter_map(|seen| match seen.request.ask {
        Ask::Release(ask) => Some(ask),
        _ => None,
    });
    releases.collect()
}
