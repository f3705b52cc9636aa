//! Calls that are too large or cannot be read, among calls that are fine.

use crate::keep;
use anyhow::{Result, ensure};
use hapax_client::{Ask, Blob, ErrorCode, Outcome, OutcomeClass, Reply, Token, address};
use hapax_core::request::{CompleteAsk, GetAsk, RenewAsk};
use hapax_tests::raw::Raw;
use hapax_tests::{Spec, TestCluster, program};

fn get(key: &str) -> Result<Ask> {
    let address = address("acme", "payments.charge", key)?;
    Ok(Ask::Get(GetAsk { address, fingerprint: None, wait_ms: 0, stale: false }))
}

fn complete(bytes: usize, header_bytes: usize) -> Result<Ask> {
    let metadata = hapax_client::Metadata {
        headers: vec![("x".to_owned(), "y".repeat(header_bytes))],
        ..Default::default()
    };
    let outcome = Outcome { class: OutcomeClass::Success, result: vec![7; bytes].into(), metadata };
    let address = address("acme", "payments.charge", "k")?;
    Ok(Ask::Complete(CompleteAsk { address, token: Token::from(1), outcome, retention_ms: None }))
}

fn renew(checkpoint_bytes: usize) -> Result<Ask> {
    Ok(Ask::Renew(RenewAsk {
        address: address("acme", "payments.charge", "k")?,
        token: Token::from(1),
        seq: 1,
        lease_ms: None,
        checkpoint: Some(Blob::from(vec![7; checkpoint_bytes])),
        mark: false,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_over_its_bound_spoils_no_neighbour() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let client = cluster.client().await?;
    keep(&client, "kept").await?;
    let (mut raw, _) = Raw::greeted(&cluster.client_addr(0)).await?;
    let over = [
        ("result", complete(256 * 1024 + 1, 0)?),
        ("metadata", complete(1, 8 * 1024 + 1)?),
        ("checkpoint", renew(4 * 1024 + 1)?),
    ];
    for (field, ask) in over {
        let answers = raw.ask_all(&[get("kept")?, ask, get("kept")?], 5000).await?;
        for at in [0, 2] {
            ensure!(matches!(answers[at].reply, Reply::State(_)), "{field}: {:?}", answers[at].reply);
        }
        let Reply::Error(refusal) = &answers[1].reply else {
            anyhow::bail!("{field}: {:?}", answers[1].reply);
        };
        let code = [ErrorCode::TooLarge, ErrorCode::Invalid].contains(&refusal.code);
        ensure!(code && refusal.definite, "{field}: {refusal}");
        let named = refusal.field.as_deref().unwrap_or_default();
        ensure!(named.contains(field) || field.contains(named) && !named.is_empty(), "{field}: {refusal:?}");
    }
    // Just fitting is no error: only the token is wrong.
    let answers = raw.ask_all(&[complete(256 * 1024, 0)?, renew(4 * 1024)?], 5000).await?;
    for answer in &answers {
        ensure!(matches!(answer.reply, Reply::Fenced), "{:?}", answer.reply);
    }
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_a_connection_takes_are_refused_as_definite() -> Result<()> {
    let spec = Spec::nodes(1).extra("[limits]\ncalls_per_connection = 8");
    let cluster = TestCluster::start(program!(), spec).await?;
    let (mut raw, welcome) = Raw::greeted(&cluster.client_addr(0)).await?;
    ensure!(welcome.limits.in_flight == 8, "{welcome:?}");
    let asks = (0..64).map(|n| get(&format!("k{n}"))).collect::<Result<Vec<_>>>()?;
    let answers = raw.ask_all(&asks, 5000).await?;
    let overloaded = |reply: &Reply| matches!(reply, Reply::Error(refusal) if refusal.code == ErrorCode::Overloaded && refusal.definite);
    let refused = answers.iter().filter(|answer| overloaded(&answer.reply)).count();
    let served = answers.iter().filter(|answer| matches!(answer.reply, Reply::State(_))).count();
    ensure!(refused + served == 64 && refused >= 1 && served >= 8, "{refused} refused, {served} served");
    // The connection lives on.
    let answers = raw.ask_all(&[get("k")?], 5000).await?;
    ensure!(matches!(answers[0].reply, Reply::State(_)), "{:?}", answers[0].reply);
    cluster.finish()
}
