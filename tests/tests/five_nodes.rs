//! Five nodes, 16 shards, three replicas of each: what two dead nodes stop, and what not.

use anyhow::{Context as _, Result, ensure};
use hapax_client::{
    Address, ClaimReply, ClaimRequest, Client, CompleteReply, ErrorCode, Outcome, OutcomeClass, Reply,
    address, fingerprint, request::CompleteAsk,
};
use hapax_core::request::{Ask, ClaimAsk};
use hapax_tests::ledger::Ledger;
use hapax_tests::load::{Caller, Load, Progress};
use hapax_tests::raw::Raw;
use hapax_tests::spec::name;
use hapax_tests::{Spec, TestCluster, note, program, until};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SHARDS: u32 = 16;
/// How long a shard with a quorum may take to serve after the fault, by the protocol.
const SERVES_WITHIN: Duration = Duration::from_secs(10);

/// Which nodes keep which shard, by number from 0.
async fn replicas(client: &Client, nodes: usize) -> Result<BTreeMap<u32, Vec<usize>>> {
    let table = client.refresh_table().await?;
    let number = |id: u64| {
        let name_of = table.nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
        (0..nodes).find(|i| Some(name(*i)) == name_of).context("a node that is not in the table")
    };
    table
        .shards
        .iter()
        .map(|entry| {
            let kept = entry.replicas.iter().map(|replica| number(replica.node));
            Ok((entry.shard, kept.collect::<Result<Vec<_>>>()?))
        })
        .collect()
}

/// A key of each shard.
fn key_of(shard: u32, salt: u32) -> Result<Address> {
    for n in 0..100_000u32 {
        let address = address("acme", "payments.charge", format!("key-{salt}-{n}"))?;
        if address.shard(SHARDS) == shard {
            return Ok(address);
        }
    }
    anyhow::bail!("no key falls on shard {shard}")
}

async fn claim_and_complete(client: &Client, address: Address) -> Result<()> {
    let claim = ClaimRequest::new(address.clone()).fingerprint(fingerprint::bytes(b"x"));
    let reply = client.claim(claim).await?.reply;
    let ClaimReply::Granted(granted) = reply else { anyhow::bail!("{reply:?}") };
    let outcome = Outcome { class: OutcomeClass::Success, result: "r".into(), metadata: Default::default() };
    let ask = CompleteAsk { address, token: granted.token, outcome, retention_ms: None };
    let reply = client.complete(ask).await?.reply;
    ensure!(matches!(reply, CompleteReply::Completed(_)), "{reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dead_nodes_that_share_no_majority_stop_nothing() -> Result<()> {
    // Replicas of a shard are spread over zones: two nodes of one zone never share a shard.
    let spec = Spec::nodes(5).zones(&["a", "a", "b", "b", "c"]);
    let mut cluster = TestCluster::start(program!(), spec).await?;
    let client = cluster.client().await?;
    let kept = replicas(&client, 5).await?;
    ensure!(kept.len() == SHARDS as usize && kept.values().all(|nodes| nodes.len() == 3), "{kept:?}");
    for pair in [[0, 1], [2, 3]] {
        let shared = kept.values().filter(|nodes| pair.iter().all(|node| nodes.contains(node))).count();
        ensure!(shared == 0, "nodes {pair:?} of one zone share {shared} shards");
    }
    let load = Load { keys: 3000, copies: 3, workers: 32, within: Duration::from_secs(120) };
    let (ledger, progress) = (Arc::new(Ledger::new("orders.place")), Arc::new(Progress::default()));
    let callers = Caller::of(&cluster).await?;
    let running = tokio::spawn(load.run(callers, Arc::clone(&ledger), Arc::clone(&progress)));
    until("a third of the load", load.within, async || match progress.done() {
        done if done >= load.calls() / 3 => Ok(()),
        done => Err(format!("{done} calls done")),
    })
    .await?;
    cluster.kill(2)?;
    cluster.kill(3)?;
    ensure!(!running.is_finished(), "the load was over before the nodes were killed");
    let killed = Instant::now();
    for shard in 0..SHARDS {
        let within = client.within(SERVES_WITHIN);
        claim_and_complete(&within, key_of(shard, 1)?).await.with_context(|| format!("shard {shard}"))?;
    }
    note!("all shards served {:?} after two nodes were killed", killed.elapsed());
    running.await??;
    ledger.check(load.keys, load.copies)?;
    let read = ledger.check_on_every_node(&cluster).await?;
    ensure!(read == 3 * load.keys as usize, "only {read} results were read back");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_its_majority_refuses_alone_and_comes_back() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(5)).await?;
    let client = cluster.client().await?;
    let kept = replicas(&client, 5).await?;
    for shard in 0..SHARDS {
        claim_and_complete(&client, key_of(shard, 0)?).await?;
    }
    // Two of three replicas of shard 0: those that are not the first node of the three.
    let (left, dead) = (kept[&0][0], [kept[&0][1], kept[&0][2]]);
    for node in dead {
        cluster.kill(node)?;
    }
    let stopped = |shard: &u32| kept[shard].iter().filter(|node| dead.contains(node)).count() == 2;
    let (without, with): (Vec<u32>, Vec<u32>) = (0..SHARDS).partition(stopped);
    ensure!(without.contains(&0) && !with.is_empty(), "{kept:?}");
    for shard in &with {
        let within = client.within(SERVES_WITHIN);
        claim_and_complete(&within, key_of(*shard, 1)?).await.with_context(|| format!("shard {shard}"))?;
    }
    note!("{} shards served on, {} had lost their majority", with.len(), without.len());
    for shard in &without {
        refused(&cluster.client_addr(left), &client, *shard).await?;
    }
    for node in dead {
        cluster.launch(node)?;
    }
    cluster.all_ready().await?;
    for shard in 0..SHARDS {
        let again = ClaimRequest::new(key_of(shard, 0)?).fingerprint(fingerprint::bytes(b"x"));
        let reply = client.claim(again).await?.reply;
        ensure!(matches!(reply, ClaimReply::Replayed(_)), "shard {shard}: {reply:?}");
        claim_and_complete(&client, key_of(shard, 2)?).await.with_context(|| format!("shard {shard}"))?;
    }
    cluster.finish()
}

/// A shard without a quorum answers nothing but errors, at a node and through the client.
async fn refused(addr: &str, client: &Client, shard: u32) -> Result<()> {
    let address = key_of(shard, 3)?;
    let ask = Ask::Claim(ClaimAsk {
        address: address.clone(),
        fingerprint: Some(fingerprint::bytes(b"x")),
        fields: Default::default(),
        nonce: client.env().nonce()?,
        lease_ms: None,
        wait_ms: 0,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
    });
    let (mut raw, _) = Raw::greeted(addr).await?;
    let answer = raw.ask_all(&[ask], 3000).await?.remove(0);
    let Reply::Error(refusal) = answer.reply else { anyhow::bail!("shard {shard}: {:?}", answer.reply) };
    let codes = [ErrorCode::Unavailable, ErrorCode::NotLeader, ErrorCode::Deadline];
    ensure!(codes.contains(&refusal.code), "shard {shard}: {refusal}");
    let claim = ClaimRequest::new(address).fingerprint(fingerprint::bytes(b"x"));
    let error = match client.within(Duration::from_secs(3)).claim(claim).await {
        Ok(replied) => anyhow::bail!("shard {shard}: {:?}", replied.reply),
        Err(error) => error,
    };
    ensure!(error.code() == ErrorCode::Unavailable, "shard {shard}: {error}");
    note!("shard {shard}: the node says {refusal}; the client says {error}");
    Ok(())
}
