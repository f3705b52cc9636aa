//! Peers and clients that stop reading, or stop altogether.

use crate::{claim, keep, kept};
use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use hapax_client::{
    Ask, ClaimReply, CompleteReply, Outcome, OutcomeClass, Request, address, fingerprint,
    request::CompleteAsk,
};
use hapax_core::request::GetAsk;
use hapax_tests::raw::Raw;
use hapax_tests::{Spec, TestCluster, note, program};
use hapax_wire::client::CallsFrame;
use rustix::process::Signal;
use std::time::Duration;

/// How long a shard with a quorum may take to serve after a fault, by the protocol.
const SERVES_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_holds_up_nobody() -> Result<()> {
    let spec = Spec::nodes(1).extra("[limits]\nreply_bytes_per_connection = 2097152");
    let cluster = TestCluster::start(program!(), spec).await?;
    let client = cluster.client().await?;
    let large = address("acme", "payments.charge", "large")?;
    let ClaimReply::Granted(granted) = client.claim(claim(&large)).await?.reply else {
        anyhow::bail!("not granted")
    };
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: vec![7; 250_000].into(),
        metadata: Default::default(),
    };
    let ask = CompleteAsk { address: large.clone(), token: granted.token, outcome, retention_ms: None };
    ensure!(matches!(client.complete(ask).await?.reply, CompleteReply::Completed(_)));
    // 250 MB of replies asked for, and none of them read.
    let (mut raw, _) = Raw::greeted(&cluster.client_addr(0)).await?;
    let fingerprint = Some(fingerprint::bytes(b"x"));
    let get = Ask::Get(GetAsk { address: large, fingerprint, wait_ms: 0, stale: false });
    let request = Request { not_after: None, ask: get };
    let mut out = BytesMut::new();
    let mut frame = CallsFrame::start(&mut out);
    for id in 1..=1000 {
        frame.push(id, 10_000, &request);
    }
    frame.finish();
    raw.send(&out).await?;
    for n in 0..20 {
        keep(&client, &format!("beside-{n}")).await?;
    }
    let bytes = raw.closed(Duration::from_secs(45)).await.context("the slow reader is not cut off")?;
    note!("{bytes} bytes came before the connection was closed");
    ensure!(bytes < 100_000_000, "{bytes} bytes were kept for one slow reader");
    kept(&client, "beside-0").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_holds_up_nobody_and_comes_back_fenced() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    for frozen in 0..3 {
        keep(&client, &format!("before-{frozen}")).await?;
        cluster.process(frozen)?.signal(Signal::STOP)?;
        // Keys on all shards: those that it led must find another leader.
        for n in 0..32 {
            let within = client.within(SERVES_WITHIN);
            let key = format!("while-{frozen}-{n}");
            keep(&within, &key).await.with_context(|| format!("{key}, node {} stands still", frozen + 1))?;
        }
        cluster.process(frozen)?.signal(Signal::CONT)?;
        cluster.ready(frozen).await?;
        for n in 0..32 {
            kept(&client, &format!("while-{frozen}-{n}")).await?;
        }
    }
    hapax_tests::ledger::replicas_agree(&client, 3).await?;
    cluster.finish()
}
