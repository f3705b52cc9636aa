//! A consumer that processes each message once, from a queue that delivers at least once: twice,
//! out of order, to several consumers at the same time.
//!
//! Run against `cargo run --release -- dev`:
//! `cargo run -p hapax-client --example message_consumer`
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod common;

use anyhow::Result;
use common::{check, connect, fresh_name};
use hapax_client::{Address, Client, Ending, Executed, Operation, Tenant, fingerprint, keys};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::Mutex;

const MESSAGES: u32 = 200;
const CONSUMERS: u32 = 3;
/// How often the queue delivers each message.
const DELIVERIES: u32 = 3;

/// What the consumers do to the world: counted, to see that it is done once.
type Effects = Arc<Mutex<HashMap<u32, u32>>>;

/// Processes one delivery. True when the queue may drop it.
async fn consume(
    client: &Client,
    queue: &str,
    message: u32,
    delivery: u32,
    effects: Effects,
) -> Result<bool> {
    let key = keys::composed(&[queue, &message.to_string()])?;
    let address = Address::new(&Tenant::new("demo")?, &Operation::new("messages.process")?, &key);
    let body = format!("order {message} was created");
    let work = |_| async move {
        // Every tenth message meets a dependency that is down at its first delivery.
        if message.is_multiple_of(10) && delivery == 0 {
            return Ok::<_, Infallible>(Ending::TryAgain("the mail server is down".to_owned()));
        }
        *effects.lock().await.entry(message).or_default() += 1;
        Ok(Ending::Success(format!("mail for order {message} sent")))
    };
    let executed = client.execute(address, fingerprint::bytes(body.as_bytes())).run(work).await?;
    Ok(matches!(executed, Executed::Fresh(_) | Executed::Replayed(_)))
}

async fn consumer(number: u32, queue: String, effects: Effects) -> Result<u32> {
    let client = connect().await?;
    let mut done = 0;
    for delivery in 0..DELIVERIES {
        // Each consumer sees every message, in an order of its own.
        for turn in 0..MESSAGES {
            let message = (turn * 7 + number * 61) % MESSAGES;
            let drop_it = consume(&client, &queue, message, delivery, Arc::clone(&effects)).await?;
            done += u32::from(drop_it);
        }
    }
    Ok(done)
}

#[tokio::main]
async fn main() -> Result<()> {
    let queue = fresh_name(&connect().await?, "queue")?;
    let effects = Effects::default();
    println!("{MESSAGES} messages, delivered {DELIVERIES} times to each of {CONSUMERS} consumers:");
    let mut consumers = tokio::task::JoinSet::new();
    for number in 0..CONSUMERS {
        consumers.spawn(consumer(number, queue.clone(), Arc::clone(&effects)));
    }
    let mut done = 0;
    while let Some(consumed) = consumers.join_next().await {
        done += consumed??;
    }
    let effects = effects.lock().await;
    println!("  {done} of {} deliveries were answered", MESSAGES * DELIVERIES * CONSUMERS);
    check(effects.len() == MESSAGES as usize, "every message was processed")?;
    check(effects.values().all(|count| *count == 1), "each message was processed once")
}
