//! A NATS JetStream key-value bucket with three replicas, as it is used for this: create, then update at its revision.
//!
//! The server answers when a majority has written, and syncs every two minutes. Reads go to the leader: the direct
//! gets that buckets allow by default are answered by any replica, which may not have what was just acknowledged.

use super::{Target, kept, within};
use crate::load::store::{Claimed, Failure, Store};
use crate::servers::nats::start;
use crate::servers::process::Process;
use crate::servers::usage::Servers;
use anyhow::{Context as _, Result};
use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use async_nats::jetstream::{Context, stream};
use bytes::Bytes;
use std::path::Path;

const BUCKET: &str = "calls";

/// A running cluster.
pub(super) struct Nats {
    nodes: Vec<(Process, u16)>,
}

impl Nats {
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let mut nodes = start(dir)?;
        let replicas = nodes.len();
        let (first, port) = nodes.first_mut().context("no node")?;
        // Refused until the nodes have found each other and elected who places streams.
        first
            .reached(async || {
                let made = context(*port).await?.create_stream(bucket(replicas)).await?;
                anyhow::ensure!(made.cached_info().config.num_replicas == replicas, "too few replicas");
                Ok(())
            })
            .await?;
        Ok(Self { nodes })
    }
}

/// What makes a bucket, but for direct gets.
fn bucket(replicas: usize) -> stream::Config {
    stream::Config {
        name: format!("KV_{BUCKET}"),
        subjects: vec![format!("$KV.{BUCKET}.>")],
        max_messages_per_subject: 1,
        discard: stream::DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: false,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

async fn context(port: u16) -> Result<Context> {
    let client = async_nats::connect(format!("nats://127.0.0.1:{port}")).await?;
    Ok(async_nats::jetstream::new(client))
}

impl Target for Nats {
    type Store = Connection;

    fn servers(&self) -> Result<Servers> {
        Ok(Servers::new(self.nodes.iter().map(|(process, _)| process.id()).collect()))
    }

    async fn connect(&self, _: usize) -> Result<Vec<Connection>> {
        let mut all = Vec::new();
        for (_, port) in &self.nodes {
            all.push(Connection(context(*port).await?.get_key_value(BUCKET).await?));
        }
        Ok(all)
    }
}

#[derive(Clone)]
pub(super) struct Connection(kv::Store);

impl Store for Connection {
    type Token = u64;

    async fn claim(&self, key: &str, caller: [u8; 16]) -> Result<Claimed<u64>, Failure> {
        let created = within(async {
            match self.0.create(key, kept::running(&caller)).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(error),
            }
        });
        match created.await? {
            Some(revision) => Ok(Claimed::Granted(revision)),
            None => self.replay(key, caller).await,
        }
    }

    async fn replay(&self, key: &str, _: [u8; 16]) -> Result<Claimed<u64>, Failure> {
        Ok(kept::found(within(self.0.get(key)).await?))
    }

    async fn complete(&self, key: &str, token: u64, result: Bytes) -> Result<bool, Failure> {
        within(async {
            match self.0.update(key, kept::done(&result), token).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }
}
