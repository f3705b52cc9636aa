//! Redis, as it is used for this: `SET key caller NX GET PX`, then `SET key result XX PX`.
//!
//! The complete is not fenced: a caller whose claim ran out overwrites what the next one wrote. A script that compares
//! first would cost more. The claim's own answer (`GET`) tells what was there; a replay is a plain `GET`.

use super::{Target, kept, within};
use crate::load::store::{Claimed, Failure, Store};
use crate::servers::process::Process;
use crate::servers::redis::{Sync, start};
use crate::servers::usage::Servers;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use std::path::Path;

/// How many callers share a connection, over which they send without waiting for each other. Fewer connections hold
/// back 512 callers, and more cost the server at 64.
const CALLERS_A_CONNECTION: usize = 16;
/// How long a claim holds, ms; that of Hapax.
const LEASE_MS: u64 = 30_000;
/// How long a result is kept, ms; that of Hapax.
const RETENTION_MS: u64 = 24 * 3600 * 1000;

/// A running one.
pub(super) struct Redis {
    process: Process,
    port: u16,
}

impl Redis {
    pub(super) async fn start(dir: &Path, sync: Sync) -> Result<Self> {
        let (mut process, port) = start(dir, sync)?;
        process.reached(async || Ok(connect(port).await.map(drop)?)).await?;
        Ok(Self { process, port })
    }
}

impl Target for Redis {
    type Store = Connection;

    fn servers(&self) -> Result<Servers> {
        Ok(Servers::new(vec![self.process.id()]))
    }

    async fn connect(&self, workers: usize) -> Result<Vec<Connection>> {
        let mut all = Vec::new();
        for _ in 0..workers.div_ceil(CALLERS_A_CONNECTION) {
            all.push(Connection(connect(self.port).await.context("cannot connect to Redis")?));
        }
        Ok(all)
    }
}

async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    let client = Client::open(("127.0.0.1", port))?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(
            &AsyncConnectionConfig::new().set_response_timeout(None),
        )
        .await?;
    // While it reads its log it takes connections and answers errors.
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    Ok(connection)
}

#[derive(Clone)]
pub(super) struct Connection(MultiplexedConnection);

impl Connection {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.0.clone();
        within(command.query_async(&mut connection)).await
    }
}

impl Store for Connection {
    type Token = ();

    async fn claim(&self, key: &str, caller: [u8; 16]) -> Result<Claimed<()>, Failure> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(kept::running(&caller).as_ref()).arg("NX").arg("GET").arg("PX").arg(LEASE_MS);
        let before: Option<Vec<u8>> = self.ask(&command).await?;
        Ok(before.map_or(Claimed::Granted(()), |before| kept::found(Some(before.into()))))
    }

    async fn replay(&self, key: &str, _: [u8; 16]) -> Result<Claimed<()>, Failure> {
        let found: Option<Vec<u8>> = self.ask(redis::cmd("GET").arg(key)).await?;
        Ok(kept::found(found.map(Bytes::from)))
    }

    async fn complete(&self, key: &str, (): (), result: Bytes) -> Result<bool, Failure> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(kept::done(&result).as_ref()).arg("XX").arg("PX").arg(RETENTION_MS);
        let set: Option<String> = self.ask(&command).await?;
        Ok(set.is_some())
    }
}
