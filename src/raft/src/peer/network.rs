//! openraft's network over the links.
//!
//! Appends are pipelined (`pipeline.rs`). Heartbeats go by their own client, whose
//! messages of all groups share frames. Snapshots take their own connection.

use crate::group::snapshot::SnapshotData;
use crate::ids::ReplicaId;
use crate::peer::convert::{ballot, place, unplace, vote, wire_entry};
use crate::peer::link::{LinkError, PeerLink};
use crate::peer::links::Links;
use crate::peer::pipeline::{Way, pipeline};
use crate::peer::snapshot_out;
use crate::stop::StopFlag;
use crate::types::{Types, Vote};
use futures_util::Stream;
use hapax_wire::peer::{
    Append, AppendOutcome, Beat, PeerBody, Transfer, TransferReply, Vote as WireVote, VoteReply,
};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::network::v2::RaftNetworkV2;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Makes the clients of one group.
pub struct NetworkFactory {
    shard: u32,
    me: ReplicaId,
    links: Arc<Links>,
    timing: crate::config::Timing,
    damaged: StopFlag,
}

impl NetworkFactory {
    /// For the group of `shard`, in which this node is `me`. `damaged` is raised when a snapshot cannot be read
    /// here: each further one would come upon the same row, and its follower would stay behind.
    #[must_use]
    pub fn new(
        shard: u32,
        me: ReplicaId,
        links: Arc<Links>,
        timing: crate::config::Timing,
        damaged: StopFlag,
    ) -> Self {
        Self { shard, me, links, timing, damaged }
    }

    fn client(&self, target: u64, heartbeat: bool) -> Network {
        let target = ReplicaId::from_u64(target);
        Network {
            shard: self.shard,
            me: self.me,
            target,
            link: self.links.get(target.node()).cloned(),
            links: Arc::clone(&self.links),
            timing: self.timing,
            damaged: self.damaged.clone(),
            heartbeat,
        }
    }
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, (): &()) -> Network {
        self.client(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Network {
        self.client(target, true)
    }
}

/// The way from one replica to another of its group.
pub struct Network {
    shard: u32,
    me: ReplicaId,
    target: ReplicaId,
    link: Option<Arc<PeerLink>>,
    links: Arc<Links>,
    timing: crate::config::Timing,
    damaged: StopFlag,
    heartbeat: bool,
}

impl Network {
    fn link(&self) -> Result<&Arc<PeerLink>, RPCError<Types>> {
        self.link
            .as_ref()
            .ok_or_else(|| RPCError::Unreachable(Unreachable::from_string("no address is known")))
    }

    fn rpc(&self) -> Duration {
        Duration::from_millis(self.timing.rpc_ms)
    }

    fn error(&self, error: &LinkError, action: openraft::RPCTypes) -> RPCError<Types> {
        match error {
            LinkError::Down | LinkError::Full | LinkError::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(error))
            }
            LinkError::Timeout => RPCError::Timeout(Timeout {
                action,
                id: self.me.as_u64(),
                target: self.target.as_u64(),
                timeout: self.rpc(),
            }),
            LinkError::Broken | LinkError::TooLarge(_) | LinkError::Confused => {
                RPCError::Network(NetworkError::new(error))
            }
        }
    }

    async fn ask(
        &self,
        body: impl Into<PeerBody>,
        action: openraft::RPCTypes,
    ) -> Result<PeerBody, RPCError<Types>> {
        let link = self.link()?;
        link.ask(body, 256, self.rpc()).await.map_err(|error| self.error(&error, action))
    }

    async fn ask_vote(
        &self,
        rpc: &VoteRequest<Types>,
        pre: bool,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let body = WireVote {
            shard: self.shard,
            from: self.me.as_u64(),
            to: self.target.as_u64(),
            ballot: ballot(&rpc.vote),
            last: rpc.last_log_id.as_ref().map(place),
            pre,
            handover: rpc.leadership_transfer,
        };
        match self.ask(body, openraft::RPCTypes::Vote).await? {
            PeerBody::VoteReply(VoteReply::Answer(answer)) => {
                let last = answer.last.map(unplace);
                Ok(VoteResponse {
                    vote: vote(answer.ballot),
                    vote_granted: answer.granted,
                    last_log_id: last,
                })
            }
            PeerBody::VoteReply(VoteReply::Gone) => {
                Err(RPCError::Unreachable(Unreachable::from_string("the replica is not there")))
            }
            _ => Err(RPCError::Network(NetworkError::new(&LinkError::Confused))),
        }
    }
}

/// An append or heartbeat whose reply has not come.
pub(super) struct Sent {
    reply: Reply,
    deadline: Instant,
}

enum Reply {
    Beat(oneshot::Receiver<Result<AppendOutcome, LinkError>>),
    Append(oneshot::Receiver<Result<PeerBody, LinkError>>),
}

impl Way for Network {
    type Sent = Sent;

    /// Sends one append or heartbeat.
    fn send(&self, request: &AppendEntriesRequest<Types>) -> Result<Sent, RPCError<Types>> {
        let link = self.link()?;
        let prev = request.prev_log_id.as_ref().map(place);
        let committed = request.leader_commit.as_ref().map(place);
        let (shard, from, to) = (self.shard, self.me.as_u64(), self.target.as_u64());
        let ballot = ballot(&request.vote);
        let reply = if self.heartbeat && request.entries.is_empty() {
            link.beat(Beat { shard, from, to, ballot, prev, committed }).map(Reply::Beat)
        } else {
            let entries: Vec<_> = request.entries.iter().map(wire_entry).collect();
            let size = 128 + entries.iter().map(hapax_wire::peer::Entry::size_bytes).sum::<usize>();
            link.send(Append { shard, from, to, ballot, prev, committed, entries }, size).map(Reply::Append)
        };
        let reply = reply.map_err(|error| self.error(&error, openraft::RPCTypes::AppendEntries))?;
        Ok(Sent { reply, deadline: Instant::now() + self.rpc() })
    }

    async fn outcome(&self, sent: &mut Sent) -> Result<AppendOutcome, RPCError<Types>> {
        let reply = async {
            match &mut sent.reply {
                Reply::Beat(reply) => reply.await.unwrap_or(Err(LinkError::Broken)),
                Reply::Append(reply) => match reply.await {
                    Ok(Ok(PeerBody::AppendReply(reply))) => Ok(reply.outcome),
                    Ok(Ok(PeerBody::Refused(refused))) => Err(LinkError::Refused(refused.refusal.text)),
                    Ok(Ok(_)) => Err(LinkError::Confused),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(LinkError::Broken),
                },
            }
        };
        let result = timeout_at(sent.deadline, reply).await.unwrap_or(Err(LinkError::Timeout));
        match result {
            Ok(AppendOutcome::Gone) => {
                Err(RPCError::Unreachable(Unreachable::from_string("the replica is not there")))
            }
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(self.error(&error, openraft::RPCTypes::AppendEntries)),
        }
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let mut sent = self.send(&rpc)?;
        Ok(match self.outcome(&mut sent).await? {
            AppendOutcome::Success(_) => AppendEntriesResponse::Success,
            AppendOutcome::Partial(upto) => AppendEntriesResponse::PartialSuccess(upto.map(unplace)),
            AppendOutcome::HigherBallot(higher) => AppendEntriesResponse::HigherVote(vote(higher)),
            AppendOutcome::Conflict | AppendOutcome::Gone => AppendEntriesResponse::Conflict,
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            self.link()?;
            let replies: BoxStream<'s, _> = Box::pin(pipeline(&*self, input));
            Ok(replies)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(&rpc, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(&rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        leader: Vote,
        snapshot: openraft::alias::SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let peer = self.links.config_of(self.target.node());
        let (Some(peer), Some(link)) = (peer, &self.link) else {
            return Err(StreamingError::Unreachable(Unreachable::from_string("no address is known")));
        };
        // The link tells whether the follower's node is still there, so that there must be one from the beginning.
        let mut breaks = link.breaks();
        breaks.mark_unchanged();
        if !link.is_up() {
            return Err(StreamingError::Unreachable(Unreachable::from_string("the link is down")));
        }
        let route = snapshot_out::Route {
            shard: self.shard,
            from: self.me,
            to: self.target,
            addr: peer.peer_addr.clone(),
            me: self.links.me().clone(),
            connect: Duration::from_millis(self.timing.connect_ms),
            whole: Duration::from_millis(self.timing.snapshot_ms),
            breaks,
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            result = snapshot_out::send(&route, &leader, snapshot) => {
                result.map(SnapshotResponse::new).map_err(|error| {
                    tracing::warn!(shard = self.shard, to = %self.target, %error, "a snapshot was not taken");
                    if error.is_damage() {
                        self.damaged.raise();
                    }
                    StreamingError::Unreachable(Unreachable::from_string(error.to_string()))
                })
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let body = Transfer {
            shard: self.shard,
            from: self.me.as_u64(),
            to: req.to_node_id().to_owned(),
            ballot: ballot(req.from_leader()),
            last: req.last_log_id().map(place),
        };
        match self.ask(body, openraft::RPCTypes::TransferLeader).await? {
            PeerBody::TransferReply(TransferReply::Taken) => Ok(Ok(())),
            PeerBody::TransferReply(TransferReply::Gone) => {
                Err(RPCError::Unreachable(Unreachable::from_string("the replica is not there")))
            }
            _ => Err(RPCError::Network(NetworkError::new(&LinkError::Confused))),
        }
    }
}
