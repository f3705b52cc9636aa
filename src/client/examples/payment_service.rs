//! A payment service: success, decline, and a worker that dies before or after the point of no
//! return.
//!
//! Run against `cargo run --release -- dev`:
//! `cargo run -p hapax-client --example payment_service`
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod common;
#[path = "common/worker.rs"]
mod worker;

use anyhow::{Context, Result, bail};
use common::{check, connect, fresh_name};
use hapax_client::fingerprint::json_fields;
use hapax_client::request::ResolveAsk;
use hapax_client::{
    Address, Client, Ending, Executed, Execution, HoldError, Money, OutcomeClass, Reason, address,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use worker::{die, run_worker, worker_job};

const LEASE: Duration = Duration::from_secs(1);

/// What the caller of the service is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    payment: String,
    amount: u64,
}

/// The payment processor: not idempotent at all.
#[derive(Default)]
struct Bank {
    charges: Mutex<HashMap<String, u32>>,
}

impl Bank {
    async fn charge(&self, order: &str, card: &str) -> Option<String> {
        let mut charges = self.charges.lock().await;
        let count = charges.entry(order.to_owned()).or_default();
        *count += 1;
        (card != "declined").then(|| format!("pay-{order}-{count}"))
    }

    async fn asked(&self, order: &str) -> u32 {
        self.charges.lock().await.get(order).copied().unwrap_or(0)
    }
}

fn payment(order: &str) -> Result<Address> {
    Ok(address("demo", "payments.charge", order)?)
}

/// The service: the same order is charged once, whatever happens to callers and workers.
async fn pay(
    client: &Client,
    bank: Arc<Bank>,
    order: &str,
    amount: u64,
    card: &str,
) -> Result<Executed<Receipt>> {
    let body = format!(r#"{{"amount": {amount}, "source": {{"card": "{card}"}}, "sent": "now"}}"#);
    // When it was sent does not make it another payment; what and from whom does.
    let print = json_fields(body.as_bytes(), &[("amount", "/amount"), ("card", "/source/card")])?;
    let work = |run: Execution| async move {
        run.mark().await?;
        Ok::<_, HoldError>(match bank.charge(order, card).await {
            Some(payment) => Ending::Success(Receipt { payment, amount }),
            None => Ending::Rejected(Receipt { payment: "declined".to_owned(), amount }),
        })
    };
    let value = Money::new(amount, *b"EUR")?;
    Ok(client.execute(payment(order)?, print).lease(LEASE).value(value).run(work).await?)
}

/// A worker that takes the payment on and dies, before or after its mark.
async fn doomed_worker(job: &str) -> Result<()> {
    let (when, order) = job.split_once(' ').context("a job is `when order`")?;
    let client = connect().await?;
    let body = br#"{"amount": 500, "source": {"card": "c1"}}"#;
    let print = json_fields(body, &[("amount", "/amount"), ("card", "/source/card")])?;
    let work = |run: Execution| async move {
        if when == "after-mark" {
            run.mark().await?;
        }
        die();
        #[expect(unreachable_code, reason = "tells the compiler what the work would have given")]
        Ok::<Ending<Receipt>, HoldError>(Ending::TryAgain(String::new()))
    };
    client.execute(payment(order)?, print).lease(LEASE).run(work).await?;
    bail!("the worker was to die")
}

#[tokio::main]
async fn main() -> Result<()> {
    if let Some(job) = worker_job() {
        return doomed_worker(&job).await;
    }
    let client = connect().await?;
    let bank = Arc::new(Bank::default());
    succeed(&client, &bank).await?;
    decline(&client, &bank).await?;
    die_before_the_mark(&client, &bank).await?;
    die_after_the_mark(&client, &bank).await
}

async fn succeed(client: &Client, bank: &Arc<Bank>) -> Result<()> {
    println!("one payment, sent eight times at once:");
    let order = fresh_name(client, "order")?;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, bank, order) = (client.clone(), Arc::clone(bank), order.clone());
        senders.spawn(async move { pay(&client, bank, &order, 1234, "c1").await });
    }
    let mut receipts = Vec::new();
    while let Some(paid) = senders.join_next().await {
        let paid = paid??;
        receipts.push(paid.outcome().map(|(_, receipt)| receipt.clone()).context("no outcome")?);
    }
    check(bank.asked(&order).await == 1, "the bank was asked once")?;
    check(receipts.windows(2).all(|pair| pair[0] == pair[1]), "all eight got the same receipt")?;
    let other = pay(client, Arc::clone(bank), &order, 9999, "c1").await?;
    let Executed::Mismatch(mismatch) = &other else { bail!("another amount was taken for the same payment") };
    check(mismatch.fields == ["amount"], "the same key with another amount is refused, naming the amount")
}

async fn decline(client: &Client, bank: &Arc<Bank>) -> Result<()> {
    println!("a declined card, sent twice:");
    let order = fresh_name(client, "order")?;
    let first = pay(client, Arc::clone(bank), &order, 50, "declined").await?;
    let second = pay(client, Arc::clone(bank), &order, 50, "declined").await?;
    let rejected =
        |paid: &Executed<Receipt>| paid.outcome().is_some_and(|(class, _)| class == OutcomeClass::Rejected);
    check(rejected(&first) && rejected(&second), "a decline is as final as a success")?;
    check(bank.asked(&order).await == 1, "the bank was not asked again")
}

async fn die_before_the_mark(client: &Client, bank: &Arc<Bank>) -> Result<()> {
    println!("a worker that dies before the point of no return:");
    let order = fresh_name(client, "order")?;
    check(!run_worker(&format!("before-mark {order}")).await?, "the worker died")?;
    // Waits for the dead worker's lease to lapse, then takes over.
    let Executed::Fresh(fresh) = pay(client, Arc::clone(bank), &order, 500, "c1").await? else {
        bail!("the payment was not taken over")
    };
    check(fresh.attempt == 2, "the retry took over as attempt 2")?;
    check(bank.asked(&order).await == 1, "the bank was asked once")
}

async fn die_after_the_mark(client: &Client, bank: &Arc<Bank>) -> Result<()> {
    println!("a worker that dies after the point of no return:");
    let order = fresh_name(client, "order")?;
    check(!run_worker(&format!("after-mark {order}")).await?, "the worker died")?;
    let Executed::InDoubt(doubt) = pay(client, Arc::clone(bank), &order, 500, "c1").await? else {
        bail!("the payment was repeated although it may have happened")
    };
    check(bank.asked(&order).await == 0, "nobody silently repeated it")?;
    // A reconciler looks at the bank's books: it had not happened, so it may run again.
    let verdict = ResolveAsk {
        address: payment(&order)?,
        token: doubt.token,
        outcome: None,
        retention_ms: None,
        reason: Reason::new("not in the bank's books")?,
    };
    client.resolve(verdict).await?;
    let paid = pay(client, Arc::clone(bank), &order, 500, "c1").await?;
    check(paid.is_fresh() && bank.asked(&order).await == 1, "once resolved, it was charged once")
}
