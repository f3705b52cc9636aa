//! PostgreSQL, as it is used for this: `INSERT … ON CONFLICT DO NOTHING`, then an `UPDATE` under the caller's name.
//!
//! Statements are prepared, and each is a transaction of its own. One connection works at one statement at a time, so
//! that many are needed for commits to share a sync: a pool of the size that is usual.

use super::{Target, within};
use crate::load::store::{Claimed, Failure, Store};
use crate::servers::postgres::{ROLE, start};
use crate::servers::process::Process;
use crate::servers::usage::Servers;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::{Client, NoTls, Statement};

/// The size of the pool.
const CONNECTIONS: usize = 64;
const TABLE: &str = "CREATE TABLE calls (key text PRIMARY KEY, caller bytea NOT NULL, result bytea)";

/// A running one.
pub(super) struct Postgres {
    process: Process,
    port: u16,
}

impl Postgres {
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let (mut process, port) = start(dir)?;
        let client = process.reached(async || connect(port).await).await?;
        client.batch_execute(TABLE).await?;
        Ok(Self { process, port })
    }
}

impl Target for Postgres {
    type Store = Connection;

    fn servers(&self) -> Result<Servers> {
        Ok(Servers::new(vec![self.process.id()]))
    }

    async fn connect(&self, workers: usize) -> Result<Vec<Connection>> {
        let mut all = Vec::new();
        for _ in 0..workers.min(CONNECTIONS) {
            let client = connect(self.port).await?;
            let claim = client
                .prepare("INSERT INTO calls (key, caller) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .await?;
            let complete = client
                .prepare("UPDATE calls SET result = $3 WHERE key = $1 AND caller = $2 AND result IS NULL")
                .await?;
            let replay = client.prepare("SELECT result FROM calls WHERE key = $1").await?;
            all.push(Connection(Arc::new(Prepared { client, claim, complete, replay })));
        }
        Ok(all)
    }
}

async fn connect(port: u16) -> Result<Client> {
    let config = format!("host=127.0.0.1 port={port} user={ROLE} dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.context("cannot connect")?;
    // It ends with its client.
    tokio::spawn(connection);
    Ok(client)
}

struct Prepared {
    client: Client,
    claim: Statement,
    complete: Statement,
    replay: Statement,
}

#[derive(Clone)]
pub(super) struct Connection(Arc<Prepared>);

impl Store for Connection {
    type Token = [u8; 16];

    async fn claim(&self, key: &str, caller: [u8; 16]) -> Result<Claimed<Self::Token>, Failure> {
        let added = within(self.0.client.execute(&self.0.claim, &[&key, &caller.as_slice()])).await?;
        if added == 1 { Ok(Claimed::Granted(caller)) } else { self.replay(key, caller).await }
    }

    async fn replay(&self, key: &str, _: [u8; 16]) -> Result<Claimed<Self::Token>, Failure> {
        let row = within(self.0.client.query_opt(&self.0.replay, &[&key])).await?;
        Ok(match row.map(|row| row.try_get::<_, Option<Vec<u8>>>(0)) {
            Some(Ok(Some(result))) => Claimed::Done(result.into()),
            Some(Ok(None)) => Claimed::Running,
            Some(Err(error)) => Claimed::Other(error.to_string()),
            None => Claimed::Other("is not there".to_owned()),
        })
    }

    async fn complete(&self, key: &str, token: Self::Token, result: Bytes) -> Result<bool, Failure> {
        let Prepared { client, complete, .. } = &*self.0;
        Ok(within(client.execute(complete, &[&key, &token.as_slice(), &&*result])).await? == 1)
    }
}
