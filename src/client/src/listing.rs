//! Listing records over all shards.

use crate::client::Client;
use crate::error::Error;
use crate::verbs::unexpected_reply;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hapax_core::request::ListAsk;
use hapax_core::view::{Page, Row};
use hapax_core::{Address, Ask, Operation, Reply, StateKind, Tenant, Witness, limits};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Shards asked at the same time.
const ASKED_AT_ONCE: usize = 16;

/// Which records to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    tenant: Tenant,
    operation: Option<Operation>,
    state: Option<StateKind>,
    page: u32,
}

impl ListRequest {
    /// All records of a tenant.
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        Self { tenant, operation: None, state: None, page: limits::LIST_ROWS }
    }

    /// Of one operation only.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// In one state only.
    #[must_use]
    pub fn state(mut self, state: StateKind) -> Self {
        self.state = Some(state);
        self
    }

    /// Rows in one page, 1 to 1000 (clamped).
    #[must_use]
    pub fn page(mut self, rows: u32) -> Self {
        self.page = rows.clamp(1, limits::LIST_ROWS);
        self
    }

    fn ask(&self, shard: u32, after: Option<Address>) -> ListAsk {
        ListAsk {
            shard,
            tenant: self.tenant.clone(),
            operation: self.operation.clone(),
            state: self.state,
            after,
            limit: self.page,
        }
    }
}

/// One page of one shard.
#[derive(Clone, Debug)]
pub struct ShardPage {
    /// The shard.
    pub shard: u32,
    /// The shard's log time at which the page was read is in here.
    pub witness: Option<Witness>,
    /// The rows, in the order of their addresses.
    pub rows: Vec<Row>,
}

type Asking = Pin<Box<dyn Future<Output = (u32, Result<(Page, Option<Witness>), Error>)> + Send>>;

/// A listing under way: pages of all shards as they come, each shard's in order.
pub struct Listing {
    client: Client,
    request: ListRequest,
    to_ask: VecDeque<(u32, Option<Address>)>,
    asked: FuturesUnordered<Asking>,
}

impl Client {
    /// Lists records of all shards. Nothing is asked before the first [`Listing::next`]; a page is
    /// consistent in itself, the listing as a whole is not.
    #[must_use]
    pub fn list(&self, request: ListRequest) -> Listing {
        let to_ask = (0..self.inner.routes.shards()).map(|shard| (shard, None)).collect();
        Listing { client: self.clone(), request, to_ask, asked: FuturesUnordered::new() }
    }
}

impl Listing {
    /// The next page, empty ones left out; none at the end. After an error its shard is left out
    /// and the others go on.
    pub async fn next(&mut self) -> Option<Result<ShardPage, (u32, Error)>> {
        loop {
            while self.asked.len() < ASKED_AT_ONCE
                && let Some((shard, after)) = self.to_ask.pop_front()
            {
                let ask = self.request.ask(shard, after);
                self.asked.push(Box::pin(fetch(self.client.clone(), ask)));
            }
            let (shard, answer) = self.asked.next().await?;
            let (Page { rows, next }, witness) = match answer {
                Ok(page) => page,
                Err(error) => return Some(Err((shard, error))),
            };
            if let Some(next) = next {
                self.to_ask.push_front((shard, Some(next)));
            }
            if !rows.is_empty() {
                return Some(Ok(ShardPage { shard, witness, rows }));
            }
        }
    }

    /// The rows of all pages up to `max` of them, and the shards that could not answer.
    pub async fn rows(mut self, max: usize) -> (Vec<Row>, Vec<(u32, Error)>) {
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        while rows.len() < max
            && let Some(page) = self.next().await
        {
            match page {
                Ok(page) => rows.extend(page.rows),
                Err(error) => failed.push(error),
            }
        }
        rows.truncate(max);
        (rows, failed)
    }
}

async fn fetch(client: Client, ask: ListAsk) -> (u32, Result<(Page, Option<Witness>), Error>) {
    let shard = ask.shard;
    let until = client.until(client.inner.env.now(), Duration::ZERO);
    let answer = client.inner.call(client.request(Ask::List(ask)), until, &mut false).await;
    let page = answer.map_err(Error::made_definite).and_then(|answer| match answer.reply {
        Reply::Page(page) => Ok((page, answer.witness)),
        other => Err(unexpected_reply(other)),
    });
    (shard, page)
}
