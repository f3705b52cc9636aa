//! Conditional updates: each change says from which version of the stock it starts, and that
//! version is part of the key and of the fingerprint. A retry of a change is answered with what it
//! came to then, however far the stock has moved on; a change that came too late is told so, and
//! tried from the new version is another operation.
//!
//! Run against `cargo run --release -- dev`:
//! `cargo run -p hapax-client --example inventory_update`
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod common;

use anyhow::{Result, bail};
use common::{check, connect, fresh_name};
use hapax_client::{Address, Client, Ending, Executed, Operation, Tenant, fingerprint, keys};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The stock of one product.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Stock {
    version: u32,
    quantity: i64,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Refused {
    /// The stock is not at that version any more.
    Moved,
    /// There is too little.
    TooLittle,
}

type Change = Result<Stock, Refused>;

/// The warehouse's database: it knows optimistic locking, and nothing of who asks twice.
struct Warehouse(Mutex<Stock>);

impl Warehouse {
    async fn change(&self, from: u32, by: i64) -> Change {
        let mut stock = self.0.lock().await;
        if stock.version != from {
            return Err(Refused::Moved);
        }
        if stock.quantity + by < 0 {
            return Err(Refused::TooLittle);
        }
        *stock = Stock { version: from + 1, quantity: stock.quantity + by };
        Ok(*stock)
    }
}

#[derive(Clone)]
struct Service {
    client: Client,
    warehouse: Arc<Warehouse>,
    sku: String,
}

impl Service {
    /// One order's change from one version, once.
    async fn update(&self, order: u32, from: u32, by: i64) -> Result<Executed<Change>> {
        let key = keys::composed(&[&self.sku, &format!("order-{order}"), &format!("v{from}")])?;
        let address = Address::new(&Tenant::new("demo")?, &Operation::new("inventory.update")?, &key);
        let print = fingerprint::of(&(&self.sku, from, by))?;
        let warehouse = Arc::clone(&self.warehouse);
        let work = |_| async move {
            let change = warehouse.change(from, by).await;
            Ok::<_, Infallible>(if change.is_ok() {
                Ending::Success(change)
            } else {
                Ending::Rejected(change)
            })
        };
        Ok(self.client.execute(address, print).run(work).await?)
    }

    async fn stock(&self) -> Stock {
        *self.warehouse.0.lock().await
    }

    /// Brings one order in, from whatever version the stock has by then; returns that version.
    async fn bring_in(self, order: u32, by: i64) -> Result<u32> {
        for _ in 0..100 {
            let from = self.stock().await.version;
            let executed = self.update(order, from, by).await?;
            match executed.outcome() {
                Some((_, Ok(_))) => return Ok(from),
                Some((_, Err(Refused::Moved))) => {}
                _ => bail!("order {order} came to {}", executed.name()),
            }
        }
        bail!("order {order} never got through")
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let client = connect().await?;
    let start = Stock { version: 1, quantity: 100 };
    let warehouse = Arc::new(Warehouse(Mutex::new(start)));
    let service = Service { sku: fresh_name(&client, "sku")?, client, warehouse };

    println!("twenty orders change the stock of {} at the same time:", service.sku);
    let by = |order: u32| -i64::from(order % 5) - 1;
    let mut orders = tokio::task::JoinSet::new();
    for order in 0..20 {
        let service = service.clone();
        orders
            .spawn(async move { Ok::<_, anyhow::Error>((order, service.bring_in(order, by(order)).await?)) });
    }
    let mut versions = Vec::new();
    while let Some(brought_in) = orders.join_next().await {
        versions.push(brought_in??);
    }
    let stock = service.stock().await;
    println!("  the stock is {stock:?}");
    check(stock.version == start.version + 20, "each order changed the stock once")?;
    let whole: i64 = (0..20).map(by).sum();
    check(stock.quantity == start.quantity + whole, "no change was lost or made twice")?;

    println!("every order is sent again, as after a lost reply:");
    for (order, from) in versions {
        let again = service.update(order, from, by(order)).await?;
        let same =
            matches!(&again, Executed::Replayed(replay) if replay.value.is_ok_and(|s| s.version == from + 1));
        if !same {
            bail!("order {order} was not replayed: {}", again.name());
        }
    }
    check(service.stock().await == stock, "each was told what it came to, and nothing changed")?;

    println!("changes that do not hold:");
    let refused = service.update(99, stock.version, -1000).await?;
    check(refused.outcome().is_some_and(|(_, c)| *c == Err(Refused::TooLittle)), "too little stock is told")?;
    let late = service.update(98, start.version, -1).await?;
    check(late.outcome().is_some_and(|(_, c)| *c == Err(Refused::Moved)), "an old version is told")?;
    let other = service.update(99, stock.version, -1).await?;
    check(matches!(other, Executed::Mismatch(_)), "another change under the same key is refused")?;
    check(service.stock().await == stock, "nothing changed")
}
