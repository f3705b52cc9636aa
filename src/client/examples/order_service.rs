//! An order service with a deterministic key: the same cart is one order, even when the caller
//! names no key and every instance writes its JSON differently.
//!
//! Run against `cargo run --release -- dev`:
//! `cargo run -p hapax-client --example order_service`
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod common;

use anyhow::{Context, Result};
use common::{check, connect, fresh_name};
use hapax_client::fingerprint::{canonical, json};
use hapax_client::{Address, Client, Ending, Executed, Operation, Tenant, keys};
use serde_json::{Value, json as object};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The key comes from what the order is: who orders what, in which version of the cart.
fn order_address(order: &Value) -> Result<Address> {
    let key = keys::content("order", &[canonical(order)?])?;
    Ok(Address::new(&Tenant::new("demo")?, &Operation::new("orders.create")?, &key))
}

async fn create(client: &Client, body: &str, created: Arc<AtomicU32>) -> Result<Executed<u32>> {
    let order: Value = serde_json::from_str(body)?;
    let work = |_| async move {
        Ok::<_, Infallible>(Ending::Success(1000 + created.fetch_add(1, Ordering::SeqCst)))
    };
    Ok(client.execute(order_address(&order)?, json(body.as_bytes())?).run(work).await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let client = connect().await?;
    let customer = fresh_name(&client, "customer")?;
    let created = Arc::new(AtomicU32::new(0));

    println!("one cart, sent by three instances that write it differently:");
    let spellings = [
        format!(r#"{{"customer": "{customer}", "version": 1, "total": 35.70, "items": ["mug", "mug"]}}"#),
        format!(r#"{{"items":["mug","mug"],"total":35.7,"version":1.0,"customer":"{customer}"}}"#),
        object!({"total": 35.7, "customer": customer, "items": ["mug", "mug"], "version": 1}).to_string(),
    ];
    let mut numbers = Vec::new();
    for body in &spellings {
        // Each instance has connections of its own.
        let instance = connect().await?;
        let executed = create(&instance, body, Arc::clone(&created)).await?;
        println!("  {}: order {:?}", executed.name(), executed.outcome());
        numbers.push(*executed.outcome().context("no outcome")?.1);
    }
    check(created.load(Ordering::SeqCst) == 1, "one order was created")?;
    check(numbers == [1000; 3], "all instances got its number")?;

    println!("the same customer, a changed cart:");
    let changed = spellings[0].replace("\"version\": 1", "\"version\": 2");
    let executed = create(&client, &changed, Arc::clone(&created)).await?;
    check(executed.is_fresh() && created.load(Ordering::SeqCst) == 2, "a new version is a new order")
}
