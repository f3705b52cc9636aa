//! Three nodes of etcd, as they are used for this: a transaction that puts a key which nobody made, then one that puts
//! the result where the claim still stands.
//!
//! No lease is bound to the claim: a lease for each would be two requests more.

use super::{Target, kept, within};
use crate::load::store::{Claimed, Failure, Store};
use crate::servers::etcd::start;
use crate::servers::process::Process;
use crate::servers::usage::Servers;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use std::path::Path;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use wire::{
    Compare, KeyValue, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, op,
};

/// A running cluster.
pub(super) struct Etcd {
    nodes: Vec<(Process, u16)>,
}

impl Etcd {
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let mut nodes = start(dir)?;
        for (process, port) in &mut nodes {
            process
                .reached(async || {
                    // Answered once there is a leader.
                    let answer = connect(*port).await?.replay("ready", [0; 16]).await;
                    answer.map(drop).map_err(|failure| anyhow::anyhow!(failure.text))
                })
                .await?;
        }
        Ok(Self { nodes })
    }
}

impl Target for Etcd {
    type Store = Connection;

    fn servers(&self) -> Result<Servers> {
        Ok(Servers::new(self.nodes.iter().map(|(process, _)| process.id()).collect()))
    }

    async fn connect(&self, _: usize) -> Result<Vec<Connection>> {
        let mut all = Vec::new();
        for (_, port) in &self.nodes {
            all.push(connect(*port).await?);
        }
        Ok(all)
    }
}

async fn connect(port: u16) -> Result<Connection> {
    let node = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
    Ok(Connection(Grpc::new(node.connect().await.context("cannot connect to etcd")?)))
}

#[derive(Clone)]
pub(super) struct Connection(Grpc<Channel>);

impl Connection {
    async fn ask<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.0.clone();
        within(async {
            let ready = grpc.ready().await;
            ready.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec);
            Ok::<_, tonic::Status>(answer.await?.into_inner())
        })
        .await
    }

    async fn transact(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        self.ask("/etcdserverpb.KV/Txn", request).await
    }
}

fn range(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into() }
}

fn put(key: &str, value: Bytes) -> RequestOp {
    let put = PutRequest { key: key.to_owned().into(), value };
    RequestOp { request: Some(op::Request::Put(put)) }
}

fn found(pair: Option<&KeyValue>) -> Claimed<i64> {
    kept::found(pair.map(|pair| pair.value.clone()))
}

impl Store for Connection {
    type Token = i64;

    async fn claim(&self, key: &str, caller: [u8; 16]) -> Result<Claimed<i64>, Failure> {
        let request = TxnRequest {
            compare: vec![Compare::made_at(key, 0)],
            success: vec![put(key, kept::running(&caller))],
            failure: vec![RequestOp { request: Some(op::Request::Range(range(key))) }],
        };
        let answer = self.transact(request).await?;
        if answer.succeeded {
            return Ok(Claimed::Granted(answer.header.map_or(0, |header| header.revision)));
        }
        let range = answer.responses.iter().find_map(|response| response.range.as_ref());
        Ok(found(range.and_then(|range| range.kvs.first())))
    }

    async fn replay(&self, key: &str, _: [u8; 16]) -> Result<Claimed<i64>, Failure> {
        let answer: RangeResponse = self.ask("/etcdserverpb.KV/Range", range(key)).await?;
        Ok(found(answer.kvs.first()))
    }

    async fn complete(&self, key: &str, token: i64, result: Bytes) -> Result<bool, Failure> {
        let request = TxnRequest {
            compare: vec![Compare::changed_at(key, token)],
            success: vec![put(key, kept::done(&result))],
            failure: Vec::new(),
        };
        Ok(self.transact(request).await?.succeeded)
    }
}

/// Of etcd's published interface (`etcdserverpb`, `mvccpb`) the messages and fields that are used here, by their
/// numbers: a build from its definitions would need their compiler.
mod wire {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeRequest {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) key: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(bytes = "bytes", tag = "5")]
        pub(super) value: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeResponse {
        #[prost(message, repeated, tag = "2")]
        pub(super) kvs: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutRequest {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) key: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) value: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RequestOp {
        #[prost(oneof = "op::Request", tags = "1, 2")]
        pub(super) request: Option<op::Request>,
    }

    pub(super) mod op {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub(in super::super) enum Request {
            #[prost(message, tag = "1")]
            Range(super::RangeRequest),
            #[prost(message, tag = "2")]
            Put(super::PutRequest),
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Compare {
        /// 0: equal.
        #[prost(int32, tag = "1")]
        result: i32,
        /// 1: the revision at which it was made; 2: the one at which it was last changed.
        #[prost(int32, tag = "2")]
        target: i32,
        #[prost(bytes = "bytes", tag = "3")]
        key: Bytes,
        #[prost(int64, optional, tag = "5")]
        create_revision: Option<i64>,
        #[prost(int64, optional, tag = "6")]
        mod_revision: Option<i64>,
    }

    impl Compare {
        pub(super) fn made_at(key: &str, revision: i64) -> Self {
            let key = key.to_owned().into();
            Self { result: 0, target: 1, key, create_revision: Some(revision), mod_revision: None }
        }

        pub(super) fn changed_at(key: &str, revision: i64) -> Self {
            let key = key.to_owned().into();
            Self { result: 0, target: 2, key, create_revision: None, mod_revision: Some(revision) }
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) compare: Vec<Compare>,
        #[prost(message, repeated, tag = "2")]
        pub(super) success: Vec<RequestOp>,
        #[prost(message, repeated, tag = "3")]
        pub(super) failure: Vec<RequestOp>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResponseHeader {
        #[prost(int64, tag = "3")]
        pub(super) revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResponseOp {
        #[prost(message, optional, tag = "1")]
        pub(super) range: Option<RangeResponse>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<ResponseHeader>,
        #[prost(bool, tag = "2")]
        pub(super) succeeded: bool,
        #[prost(message, repeated, tag = "3")]
        pub(super) responses: Vec<ResponseOp>,
    }
}
