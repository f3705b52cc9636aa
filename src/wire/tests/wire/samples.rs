//! One fixed example of every message, of every verb asked and of every reply: the golden bytes are
//! theirs, and the hostile tests start from them.

use bytes::BytesMut;
use hapax_core::command::ForgetMode;
use hapax_core::record::Resolution;
use hapax_core::reply::{
    CompletedReply, Ended, Granted, InDoubtReply, InFlight, Mismatch, Renewed, Replayed, SpentReply,
};
use hapax_core::request::{
    ClaimAsk, CompleteAsk, ForgetAsk, GetAsk, ListAsk, ReleaseAsk, RenewAsk, ResolveAsk,
};
use hapax_core::view::{Page, Row, ViewDetail};
use hapax_core::{
    Address, Ask, Blob, ErrorCode, FieldDigest, Fields, Fingerprint, Key, Label, LeaderHint, LogTime,
    Metadata, Money, Nonce, Operation, Outcome, OutcomeClass, Principal, Reason, Refusal, Reply, Request,
    StateKind, Tenant, Token, Trace, View, Witness,
};
use hapax_wire::client::{
    Answer, Call, Calls, Cancel, Error, Hello, Limits, NodeEntry, Ping, Pong, ReplicaRef, ShardEntry,
    ShardTable, Status, StatusAsk, Table, TableAsk, ToClient, ToServer, Welcome,
};
use hapax_wire::peer::{
    Append, AppendOutcome, AppendReply, Ballot, Beat, BeatReplies, BeatReply, Beats, Begun, Channel, Clock,
    ClockReply, DigestPoint, Digests, DigestsAsk, DigestsOf, Entry, Forward, ForwardCancel, ForwardReplies,
    Forwarded, ForwardedAnswer, PeerBody, PeerFrame, PeerHello, PeerStatus, PeerStatusAsk, PeerWelcome,
    Position, Refused, Roster, RosterAsk, RosterNode, RosterReply, RosterShard, ShardDigests, ShardTime,
    SnapshotAsk, SnapshotChunk, SnapshotEnd, SnapshotOpen, SnapshotReply, Transfer, TransferReply, Vote,
    VoteAnswer, VoteReply,
};
use hapax_wire::status::{EngineStatus, Figure, Match, NodeStatus, ShardRole, ShardStatus};
use hapax_wire::{ClusterId, Message, Versions};

/// Any message, by who may receive it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    ToServer(ToServer),
    ToClient(ToClient),
    PeerHello(PeerHello),
    PeerWelcome(PeerWelcome),
    Peer(PeerFrame),
}

impl Sample {
    /// Its frame.
    pub(crate) fn frame(&self) -> BytesMut {
        let mut out = BytesMut::new();
        match self {
            Self::ToServer(message) => message.put(&mut out),
            Self::ToClient(message) => message.put(&mut out),
            Self::PeerHello(message) => message.put(&mut out),
            Self::PeerWelcome(message) => message.put(&mut out),
            Self::Peer(message) => message.put(&mut out),
        }
        .unwrap();
        out
    }

    /// What the receiver of this kind of message makes of a frame.
    pub(crate) fn take(&self, frame: &hapax_wire::Frame) -> Result<Self, hapax_wire::MessageFault> {
        match self {
            Self::ToServer(_) => ToServer::take(frame).map(Self::ToServer),
            Self::ToClient(_) => ToClient::take(frame).map(Self::ToClient),
            Self::PeerHello(_) => PeerHello::take(frame).map(Self::PeerHello),
            Self::PeerWelcome(_) => PeerWelcome::take(frame).map(Self::PeerWelcome),
            Self::Peer(_) => PeerFrame::take(frame).map(Self::Peer),
        }
    }
}

/// Every sample with the name of its golden file.
pub(crate) fn all() -> Vec<(String, Sample)> {
    let mut all = vec![
        ("peer_hello".to_owned(), Sample::PeerHello(peer_hello())),
        ("peer_welcome".to_owned(), Sample::PeerWelcome(peer_welcome())),
    ];
    all.extend(to_server().into_iter().map(|(name, message)| (name.to_owned(), Sample::ToServer(message))));
    all.extend(to_client().into_iter().map(|(name, message)| (name.to_owned(), Sample::ToClient(message))));
    all.extend(asks().into_iter().map(|ask| {
        let name = format!("calls_{}", ask.name());
        let request = Request { not_after: Some(LogTime(1_800_000_000_000)), ask };
        let calls = vec![Call { id: 7, deadline_ms: 2_500, request }];
        (name, Sample::ToServer(ToServer::Calls(Calls { calls, malformed: Vec::new() })))
    }));
    all.extend(replies().into_iter().map(|reply| {
        let name = format!("answer_{}", reply.name());
        (name, Sample::ToClient(ToClient::Answer(Answer { id: 7, answer: answer(reply) })))
    }));
    all.extend(bodies().into_iter().map(|(name, body)| {
        (format!("peer_{name}"), Sample::Peer(PeerFrame { rpc: 0x0102_0304_0506_0708, body }))
    }));
    all
}

fn to_server() -> Vec<(&'static str, ToServer)> {
    let two = Calls { calls: vec![call(1), call(2)], malformed: Vec::new() };
    vec![
        ("hello", ToServer::Hello(hello())),
        ("calls_two", ToServer::Calls(two)),
        ("cancel", ToServer::Cancel(Cancel { id: 7 })),
        ("table_ask", ToServer::TableAsk(TableAsk { id: 8 })),
        ("status_ask", ToServer::StatusAsk(StatusAsk { id: 9 })),
        ("ping", ToServer::Ping(Ping { nonce: 10 })),
    ]
}

fn to_client() -> Vec<(&'static str, ToClient)> {
    vec![
        ("welcome", ToClient::Welcome(welcome())),
        ("table", ToClient::Table(Table { id: 8, table: table() })),
        ("status", ToClient::Status(Status { id: 9, status: status() })),
        ("pong", ToClient::Pong(Pong { nonce: 10 })),
        ("error", ToClient::Error(Error { refusal: refusal() })),
    ]
}

fn bodies() -> Vec<(&'static str, PeerBody)> {
    let append_reply = |outcome| AppendReply { outcome }.into();
    vec![
        ("append", append().into()),
        ("append_reply_success", append_reply(AppendOutcome::Success(Some(position(9))))),
        ("append_reply_partial", append_reply(AppendOutcome::Partial(Some(position(8))))),
        ("append_reply_conflict", append_reply(AppendOutcome::Conflict)),
        ("append_reply_higher_ballot", append_reply(AppendOutcome::HigherBallot(ballot()))),
        ("append_reply_gone", append_reply(AppendOutcome::Gone)),
        (
            "vote",
            Vote {
                shard: 3,
                from: 11,
                to: 12,
                ballot: ballot(),
                last: Some(position(9)),
                pre: true,
                handover: false,
            }
            .into(),
        ),
        (
            "vote_reply",
            VoteReply::Answer(VoteAnswer { ballot: ballot(), last: Some(position(9)), granted: true }).into(),
        ),
        ("vote_reply_gone", VoteReply::Gone.into()),
        ("beats", Beats { beats: vec![beat(0), beat(1)] }.into()),
        ("beat_replies", beat_replies().into()),
        ("clock", Clock { shards: vec![0, 3] }.into()),
        ("clock_reply", clock_reply().into()),
        ("snapshot_ask", SnapshotAsk { shard: 3, to: 12, least: Some(position(9)) }.into()),
        ("snapshot_open", snapshot_open().into()),
        ("snapshot_chunk", SnapshotChunk { seq: 2, crc: 0xdead_beef, bytes: "part".into() }.into()),
        ("snapshot_end", SnapshotEnd { chunks: 3, digest: [0xd1; 16] }.into()),
        ("snapshot_reply", SnapshotReply { ballot: ballot(), refusal: Some("disk full".into()) }.into()),
        (
            "transfer",
            Transfer { shard: 3, from: 11, to: 12, ballot: ballot(), last: Some(position(9)) }.into(),
        ),
        ("transfer_reply", TransferReply::Taken.into()),
        ("transfer_reply_gone", TransferReply::Gone.into()),
        ("forward", forward().into()),
        ("forward_cancel", ForwardCancel { ids: vec![7, 8] }.into()),
        ("forward_replies", forward_replies().into()),
        ("roster_ask", RosterAsk { node: 1, name: "node-1".into(), roster: Some(roster()) }.into()),
        ("roster_reply", RosterReply { node: 2, name: "node-2".into(), roster: None }.into()),
        ("digests_ask", DigestsAsk { shards: vec![DigestsOf { shard: 3, indexes: vec![64, 128] }] }.into()),
        ("digests", digests().into()),
        ("status_ask", PeerStatusAsk.into()),
        ("status", PeerStatus { status: status() }.into()),
        ("refused", Refused { refusal: refusal() }.into()),
    ]
}

fn digests() -> Digests {
    let points = vec![DigestPoint { index: 128, digest: [0xd1; 16] }];
    Digests { shards: vec![ShardDigests { shard: 3, replica: 11, points }] }
}

fn cluster() -> ClusterId {
    ClusterId(*b"cluster-of-three")
}

pub(crate) fn hello() -> Hello {
    Hello {
        versions: Versions { min: 1, max: 3 },
        cluster: Some(cluster()),
        name: "billing-7".into(),
        credentials: Some("secret".into()),
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        cluster: cluster(),
        node: 0x1122_3344_5566_7788,
        node_name: "node-1".into(),
        table_version: 4,
        limits: Limits::default(),
    }
}

fn peer_hello() -> PeerHello {
    PeerHello {
        versions: Versions { min: 1, max: 1 },
        cluster: Some(cluster()),
        node: 1,
        name: "node-1".into(),
        channel: Channel::Snapshot,
    }
}

fn peer_welcome() -> PeerWelcome {
    PeerWelcome { version: 1, cluster: None, node: 2, name: "node-2".into() }
}

fn refusal() -> Refusal {
    Refusal {
        code: ErrorCode::NotLeader,
        definite: true,
        text: "another node leads".into(),
        field: Some("shard".into()),
        hint: Some(LeaderHint { node: 3, client_addr: "10.0.0.3:7403".into() }),
    }
}

fn table() -> ShardTable {
    ShardTable {
        version: 4,
        shards: vec![
            ShardEntry { shard: 0, leader: Some(1), replicas: vec![ReplicaRef { node: 1, replica: 11 }] },
            ShardEntry { shard: 1, leader: None, replicas: vec![ReplicaRef { node: 2, replica: 12 }] },
        ],
        nodes: vec![NodeEntry {
            id: 1,
            name: "node-1".into(),
            client_addr: "10.0.0.1:7401".into(),
            zone: "a".into(),
        }],
    }
}

fn status() -> NodeStatus {
    NodeStatus {
        node: 1,
        name: "node-1".into(),
        software: "0.1.0".into(),
        uptime_ms: 60_000,
        shards: vec![shard_status(ShardRole::Leader), shard_status(ShardRole::Stopped)],
        engine: EngineStatus {
            name: "fjall".into(),
            figures: vec![Figure { name: "disk_bytes".into(), value: 1 << 40 }],
        },
        log: vec![Figure { name: "segments".into(), value: 2 }],
    }
}

fn shard_status(role: ShardRole) -> ShardStatus {
    ShardStatus {
        shard: 3,
        replica: 11,
        role,
        leader: Some(1),
        term: 5,
        last_index: 900,
        committed_index: 899,
        applied_index: 898,
        purged_index: 100,
        time: LogTime(1_795_000_000_000),
        records: 12_345,
        in_doubt: 1,
        digest: [0xab; 16],
        matches: vec![Match { replica: 12, index: 897 }],
    }
}

fn ballot() -> Ballot {
    Ballot { term: 5, replica: 11, committed: true }
}

fn position(index: u64) -> Position {
    Position { term: 5, index }
}

pub(crate) fn append() -> Append {
    let entry = |index, payload: &str| Entry { term: 5, index, payload: payload.into() };
    Append {
        shard: 3,
        from: 11,
        to: 12,
        ballot: ballot(),
        prev: Some(position(7)),
        committed: Some(position(6)),
        entries: vec![entry(8, "first"), entry(9, "")],
    }
}

fn beat(shard: u32) -> Beat {
    Beat { shard, from: 11, to: 12, ballot: ballot(), prev: Some(position(9)), committed: None }
}

fn beat_replies() -> BeatReplies {
    BeatReplies {
        replies: vec![
            BeatReply { shard: 0, to: 12, outcome: AppendOutcome::Success(None) },
            BeatReply { shard: 1, to: 12, outcome: AppendOutcome::Conflict },
        ],
    }
}

fn clock_reply() -> ClockReply {
    let times = vec![
        ShardTime { shard: 0, time: Some(LogTime(1_795_000_000_100)), begun: Begun::default() },
        ShardTime { shard: 3, time: None, begun: Begun { term: 7, index: 41, up_ms: 86_400_000 } },
    ];
    ClockReply { wall_ms: 1_795_000_000_123, times }
}

fn snapshot_open() -> SnapshotOpen {
    SnapshotOpen {
        shard: 3,
        from: 11,
        to: 12,
        ballot: ballot(),
        last: Some(position(9)),
        membership: "members".into(),
        snapshot: "3-5-9".into(),
        format: 1,
    }
}

fn forward() -> Forward {
    let principal = Principal::new("alice").unwrap();
    Forward { hops: 0, calls: vec![Forwarded { call: call(1), principal }], malformed: Vec::new() }
}

fn forward_replies() -> ForwardReplies {
    ForwardReplies { answers: vec![ForwardedAnswer { id: 1, answer: answer(Reply::Fenced) }] }
}

fn roster() -> Roster {
    Roster {
        cluster: cluster(),
        shards: 2,
        replication: 1,
        version: 1,
        nodes: vec![RosterNode { id: 1, name: "node-1".into() }],
        table: vec![
            RosterShard { shard: 0, replicas: vec![11] },
            RosterShard { shard: 1, replicas: vec![12] },
        ],
    }
}

pub(crate) fn address() -> Address {
    let tenant = Tenant::new("acme/merchant-42").unwrap();
    let operation = Operation::new("payments.charge").unwrap();
    Address::new(&tenant, &operation, &Key::new("order-991:v3").unwrap())
}

pub(crate) fn call(id: u64) -> Call {
    let ask = GetAsk { address: address(), fingerprint: None, wait_ms: 0, stale: false };
    Call { id, deadline_ms: 1_000, request: Request { not_after: None, ask: Ask::Get(ask) } }
}

fn fingerprint() -> Fingerprint {
    Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest: [0xf1; 32] }
}

fn outcome() -> Outcome {
    Outcome { class: OutcomeClass::Rejected, result: "declined".into(), metadata: metadata() }
}

fn metadata() -> Metadata {
    Metadata {
        content_type: Some("text/plain".into()),
        status: Some(402),
        headers: vec![("x-issuer".into(), "bank".into())],
    }
}

fn token() -> Token {
    Token::of_grant(1, 900, 2).unwrap()
}

fn reason() -> Reason {
    Reason::new("card network said so").unwrap()
}

fn claim_ask() -> ClaimAsk {
    ClaimAsk {
        address: address(),
        fingerprint: Some(fingerprint()),
        fields: Fields::new(vec![FieldDigest { name: "amount".into(), digest: [0xf2; 32] }]).unwrap(),
        nonce: Nonce::try_from([0x5a; 16]).unwrap(),
        lease_ms: Some(30_000),
        wait_ms: 5_000,
        first_sent: Some(LogTime(1_795_000_000_000)),
        label: Some(Label::new("checkout").unwrap()),
        trace: Some(Trace::new("00-4bf9-00f0-01").unwrap()),
        value: Some(Money::new(1_234, *b"EUR").unwrap()),
    }
}

fn asks() -> Vec<Ask> {
    let (address, token) = (address(), token());
    vec![
        Ask::Claim(claim_ask()),
        Ask::Renew(RenewAsk {
            address: address.clone(),
            token,
            seq: 3,
            lease_ms: None,
            checkpoint: Some("step 2".into()),
            mark: true,
        }),
        Ask::Complete(CompleteAsk {
            address: address.clone(),
            token,
            outcome: outcome(),
            retention_ms: Some(1_000),
        }),
        Ask::Release(ReleaseAsk { address: address.clone(), token, reason: Some(reason()) }),
        Ask::Resolve(ResolveAsk {
            address: address.clone(),
            token,
            outcome: Some(outcome()),
            retention_ms: None,
            reason: reason(),
        }),
        Ask::Forget(ForgetAsk {
            address: address.clone(),
            token,
            mode: ForgetMode::Reset,
            force: true,
            reason: reason(),
        }),
        Ask::Get(GetAsk {
            address: address.clone(),
            fingerprint: Some(fingerprint()),
            wait_ms: 60_000,
            stale: true,
        }),
        Ask::List(ListAsk {
            shard: 3,
            tenant: Tenant::new("acme").unwrap(),
            operation: Some(Operation::new("payments.charge").unwrap()),
            state: Some(StateKind::InDoubt),
            after: Some(address),
            limit: 100,
        }),
    ]
}

fn answer(reply: Reply) -> hapax_core::Answer {
    let witness = Witness {
        shard: 3,
        index: 900,
        position: 2,
        time: LogTime(1_795_000_000_000),
        basis: hapax_core::Basis::Applied,
    };
    hapax_core::Answer { reply, witness: Some(witness) }
}

fn granted() -> Granted {
    Granted {
        token: token(),
        attempt: 2,
        lease_ms: 30_000,
        lease_left_ms: 29_000,
        checkpoint: Some("step 2".into()),
        takeover: true,
        prior_mark: true,
        recovered: false,
        shadow_of: Some(Box::new(Reply::TooOld)),
    }
}

fn replayed() -> Replayed {
    Replayed {
        class: OutcomeClass::Success,
        result: "receipt".into(),
        metadata: metadata(),
        completed_at: LogTime(1_795_000_000_000),
        expires_at: LogTime(1_795_086_400_000),
        attempt: 2,
        first_trace: Some(Trace::new("00-4bf9-00f0-01").unwrap()),
    }
}

fn view() -> View {
    View {
        state: StateKind::Completed,
        token: token(),
        attempt: 2,
        since: Some(LogTime(1_795_000_000_000)),
        until: Some(LogTime(1_795_086_400_000)),
        marked: false,
        class: Some(OutcomeClass::Success),
        detail: Some(ViewDetail {
            outcome: Some(outcome()),
            checkpoint: Blob::default(),
            label: Some(Label::new("checkout").unwrap()),
            first_trace: None,
            value: Some(Money::new(1_234, *b"EUR").unwrap()),
            resolution: Some(Resolution {
                token: token(),
                verdict_digest: [0xd2; 16],
                at: LogTime(1_795_000_000_000),
                principal: Principal::new("alice").unwrap(),
                reason: reason(),
            }),
        }),
    }
}

/// The smallest row of a listing.
pub(crate) fn bare_row() -> Row {
    let view = View {
        state: StateKind::Absent,
        token: Token::NONE,
        attempt: 0,
        since: None,
        until: None,
        marked: false,
        class: None,
        detail: None,
    };
    let tenant = Tenant::new("a").unwrap();
    let operation = Operation::new("b").unwrap();
    Row { address: Address::new(&tenant, &operation, &Key::new("c").unwrap()), view }
}

fn replies() -> Vec<Reply> {
    let time = LogTime(1_795_000_000_000);
    vec![
        Reply::Granted(granted()),
        Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 900, retry_after_ms: 300 }),
        Reply::Mismatch(Mismatch { algorithm: false, fields: vec!["amount".into()] }),
        Reply::Ended(Ended::Lapsed),
        Reply::InDoubt(InDoubtReply { token: token(), attempt: 1, since: time, checkpoint: "step 2".into() }),
        Reply::Replayed(replayed()),
        Reply::Spent(SpentReply { class: Some(OutcomeClass::Error), completed_at: time }),
        Reply::TooOld,
        Reply::Renewed(Renewed { deadline: time, lease_left_ms: 30_000, marked: true }),
        Reply::Completed(CompletedReply { late: true, expires_at: time }),
        Reply::AlreadyCompleted,
        Reply::Conflict,
        Reply::Released,
        Reply::Resolved,
        Reply::NotInDoubt,
        Reply::Fenced,
        Reply::Ignored,
        Reply::Forgotten,
        Reply::Changed,
        Reply::State(Box::new(view())),
        Reply::Page(Page { rows: vec![bare_row()], next: Some(address()) }),
        Reply::Error(refusal()),
    ]
}
