//! Many callers that wait for one key: they are held, not polled, and woken by the complete.

use anyhow::{Context as _, Result, ensure};
use hapax_client::{
    ClaimReply, ClaimRequest, Client, Outcome, OutcomeClass, Token, address, fingerprint,
    request::CompleteAsk,
};
use hapax_tests::http::metric;
use hapax_tests::{Spec, TestCluster, note, program, until};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const CALLERS: usize = 200;
/// From the complete's reply to the last replay. A few ms on a quiet machine; the bound is what a
/// busy one may take, and far below what any polling would.
const WOKEN_WITHIN: Duration = Duration::from_millis(250);

/// How a caller's wait ended, and when.
type Ended = (ClaimReply, Instant);

async fn claim(client: Client, wait: Duration) -> Result<Ended> {
    let claim = ClaimRequest::new(address("acme", "payments.charge", "order-991")?)
        .fingerprint(fingerprint::bytes(b"12.34 EUR"))
        .wait(wait);
    let replied = client.claim(claim).await?;
    Ok((replied.reply, Instant::now()))
}

/// Commands that went through the logs of all shards.
async fn proposed(cluster: &TestCluster) -> Result<f64> {
    let mut sum = 0.0;
    for i in 0..cluster.len() {
        sum += metric(&cluster.metrics(i).await?, "hapax_proposed_commands_total", &[]);
    }
    Ok(sum)
}

/// Callers that are held on all nodes.
async fn held(cluster: &TestCluster) -> Result<f64, String> {
    let mut sum = 0.0;
    for i in 0..cluster.len() {
        let text = cluster.metrics(i).await.map_err(|error| error.to_string())?;
        sum += metric(&text, "hapax_waiters", &[]);
    }
    Ok(sum)
}

/// Starts all callers and returns the token of the one that was granted, once all others are held.
async fn all_wait(
    cluster: &TestCluster,
    client: &Client,
    callers: &mut JoinSet<Result<Ended>>,
) -> Result<Token> {
    for _ in 0..CALLERS {
        callers.spawn(claim(client.clone(), Duration::from_secs(50)));
    }
    let (first, _) =
        timeout(Duration::from_secs(20), callers.join_next()).await?.context("no caller")???;
    let ClaimReply::Granted(granted) = first else {
        anyhow::bail!("{first:?} before anything was completed")
    };
    until("199 callers to be held", Duration::from_secs(20), async || match held(cluster).await? {
        waiting if waiting >= (CALLERS - 1) as f64 => Ok(()),
        waiting => Err(format!("{waiting} are held")),
    })
    .await?;
    Ok(granted.token)
}

fn complete(token: Token) -> Result<CompleteAsk> {
    let outcome =
        Outcome { class: OutcomeClass::Success, result: "charged".into(), metadata: Default::default() };
    let address = address("acme", "payments.charge", "order-991")?;
    Ok(CompleteAsk { address, token, outcome, retention_ms: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_callers_one_is_granted_and_the_others_wake_with_its_result() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    let before = proposed(&cluster).await?;
    let mut callers = JoinSet::new();
    let token = all_wait(&cluster, &client, &mut callers).await?;
    let waited_with = client.counters();
    client.complete(complete(token)?).await?;
    let completed = Instant::now();
    let mut last = completed;
    let mut replayed = 0;
    while let Some(ended) = timeout(Duration::from_secs(20), callers.join_next()).await? {
        let (reply, at) = ended??;
        let ClaimReply::Replayed(it) = reply else { anyhow::bail!("{reply:?}") };
        ensure!(it.result.as_slice() == b"charged");
        replayed += 1;
        last = last.max(at);
    }
    ensure!(replayed == CALLERS - 1, "{replayed} were replayed");
    let spread = last - completed;
    note!("the last of {replayed} callers woke {spread:?} after the complete's reply");
    ensure!(spread < WOKEN_WITHIN, "the last caller woke only {spread:?} after the complete");
    // Nobody polled: not the client, which sent each claim once, and not the server, whose log has
    // the claims that came before the grant was applied, the complete, and little else.
    let counters = client.counters();
    ensure!(counters.retries == waited_with.retries, "{counters:?}");
    let claims = counters.calls - 1;
    ensure!(claims == CALLERS as u64, "{claims} claims were sent");
    let commands = proposed(&cluster).await? - before;
    note!("{commands} commands went through the log");
    ensure!(commands <= (CALLERS + 5) as f64, "{commands} commands went through the log");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_waiter_takes_over_when_the_holder_releases() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    let mut callers = JoinSet::new();
    let token = all_wait(&cluster, &client, &mut callers).await?;
    let address = address("acme", "payments.charge", "order-991")?;
    let release = hapax_client::request::ReleaseAsk { address, token, reason: None };
    client.release(release).await?;
    let next = timeout(Duration::from_secs(20), callers.join_next()).await?.context("nobody waits")???;
    let (ClaimReply::Granted(granted), _) = next else { anyhow::bail!("{:?}", next.0) };
    ensure!(granted.attempt == 2 && granted.takeover && granted.token > token, "{granted:?}");
    client.complete(complete(granted.token)?).await?;
    let mut replayed = 0;
    while let Some(ended) = timeout(Duration::from_secs(20), callers.join_next()).await? {
        let (reply, _) = ended??;
        ensure!(matches!(reply, ClaimReply::Replayed(_)), "{reply:?}");
        replayed += 1;
    }
    ensure!(replayed == CALLERS - 2, "{replayed} were replayed");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_takes_over_when_the_lease_lapses() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    let lease = Duration::from_secs(2);
    let key = address("acme", "payments.charge", "order-992")?;
    let print = fingerprint::bytes(b"1 EUR");
    let first = client.claim(ClaimRequest::new(key.clone()).fingerprint(print).lease(lease)).await?;
    ensure!(matches!(first.reply, ClaimReply::Granted(_)), "{:?}", first.reply);
    let begun = Instant::now();
    let waiting = ClaimRequest::new(key).fingerprint(print).wait(Duration::from_secs(30));
    let second = client.claim(waiting).await?;
    let ClaimReply::Granted(granted) = second.reply else { anyhow::bail!("{:?}", second.reply) };
    ensure!(granted.attempt == 2 && granted.takeover, "{granted:?}");
    let waited = begun.elapsed();
    note!("granted {waited:?} after the first claim's reply, whose lease was {lease:?}");
    // A lease lasts at least its span over 1.05 in log time; the first reply came after its start.
    ensure!(waited > lease.mul_f64(0.9) && waited < lease * 3, "granted after {waited:?}");
    cluster.finish()
}
