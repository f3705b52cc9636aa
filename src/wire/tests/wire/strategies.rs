//! Any message at all, within its bounds.

use hapax_core::command::ForgetMode;
use hapax_core::reply::{
    CompletedReply, Ended, Granted, InDoubtReply, InFlight, Mismatch, Renewed, Replayed, SpentReply,
};
use hapax_core::request::{
    ClaimAsk, CompleteAsk, ForgetAsk, GetAsk, ListAsk, ReleaseAsk, RenewAsk, ResolveAsk,
};
use hapax_core::view::{Page, Row, ViewDetail};
use hapax_core::{
    Address, Ask, Basis, Blob, ErrorCode, FieldDigest, Fields, Fingerprint, Key, Label, LeaderHint, LogTime,
    Metadata, Money, Nonce, Operation, Outcome, OutcomeClass, Principal, Reason, Refusal, Reply, Request,
    StateKind, Tenant, Token, Trace, View, Witness,
};
use hapax_wire::client::{Answer, Call, Calls, Malformed, NodeEntry, ReplicaRef, ShardEntry, ShardTable};
use hapax_wire::peer::{
    Append, AppendOutcome, Ballot, Beat, BeatReplies, BeatReply, Beats, Entry, Forward, ForwardReplies,
    Forwarded, ForwardedAnswer, PeerBody, PeerFrame, Position, SnapshotChunk,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;

pub(crate) fn blob(max: usize) -> impl Strategy<Value = Blob> {
    vec(any::<u8>(), 0..max).prop_map(Blob::from)
}

fn time() -> impl Strategy<Value = LogTime> {
    any::<u64>().prop_map(LogTime)
}

fn token() -> impl Strategy<Value = Token> {
    any::<u64>().prop_map(Token::from)
}

fn tenant() -> impl Strategy<Value = Tenant> {
    "[a-z0-9._-]{1,64}(/[a-z0-9._-]{1,64}){0,3}".prop_map(|text| Tenant::new(text).unwrap())
}

fn operation() -> impl Strategy<Value = Operation> {
    "[a-z0-9._-]{1,128}".prop_map(|text| Operation::new(text).unwrap())
}

pub(crate) fn address() -> impl Strategy<Value = Address> {
    let key = vec(any::<u8>(), 1..=255).prop_map(|bytes| Key::new(bytes).unwrap());
    (tenant(), operation(), key).prop_map(|(tenant, operation, key)| Address::new(&tenant, &operation, &key))
}

fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    (any::<u8>(), any::<[u8; 32]>()).prop_map(|(algorithm, digest)| Fingerprint { algorithm, digest })
}

fn fields() -> impl Strategy<Value = Fields> {
    proptest::collection::btree_map("[a-z]{1,64}", any::<[u8; 32]>(), 0..=16).prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, digest)| FieldDigest { name, digest });
        Fields::new(fields.collect()).unwrap()
    })
}

fn reason() -> impl Strategy<Value = Reason> {
    "[ -~]{0,512}".prop_map(|text| Reason::new(text).unwrap())
}

fn trace() -> impl Strategy<Value = Trace> {
    "[ -~]{0,128}".prop_map(|text| Trace::new(text).unwrap())
}

fn label() -> impl Strategy<Value = Label> {
    "\\PC{0,64}".prop_map(|text| Label::new(text).unwrap())
}

fn principal() -> impl Strategy<Value = Principal> {
    "[a-z]{0,128}".prop_map(|text| Principal::new(text).unwrap())
}

fn money() -> impl Strategy<Value = Money> {
    (any::<u64>(), "[A-Z]{3}")
        .prop_map(|(minor_units, code)| Money::new(minor_units, code.as_bytes().try_into().unwrap()).unwrap())
}

fn class() -> impl Strategy<Value = OutcomeClass> {
    select(vec![OutcomeClass::Success, OutcomeClass::Rejected, OutcomeClass::Error])
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (of("[ -~]{0,40}"), of(any::<u16>()), vec(("[a-z-]{0,20}", "[ -~]{0,20}"), 0..8))
        .prop_map(|(content_type, status, headers)| Metadata { content_type, status, headers })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (class(), blob(3000), metadata()).prop_map(|(class, result, metadata)| Outcome {
        class,
        result,
        metadata,
    })
}

fn claim() -> impl Strategy<Value = Ask> {
    let nonce = any::<[u8; 16]>().prop_filter("a nonce", |bytes| *bytes != [0; 16]);
    let who = (address(), of(fingerprint()), fields(), nonce);
    let rest = (of(any::<u64>()), any::<u64>(), of(time()), of(label()), of(trace()), of(money()));
    (who, rest).prop_map(|((address, fingerprint, fields, nonce), rest)| {
        let (lease_ms, wait_ms, first_sent, label, trace, value) = rest;
        let nonce = Nonce::try_from(nonce).unwrap();
        Ask::Claim(ClaimAsk {
            address,
            fingerprint,
            fields,
            nonce,
            lease_ms,
            wait_ms,
            first_sent,
            label,
            trace,
            value,
        })
    })
}

fn renew() -> impl Strategy<Value = Ask> {
    (address(), token(), any::<u64>(), of(any::<u64>()), of(blob(4096)), any::<bool>()).prop_map(
        |(address, token, seq, lease_ms, checkpoint, mark)| {
            Ask::Renew(RenewAsk { address, token, seq, lease_ms, checkpoint, mark })
        },
    )
}

fn resolve() -> impl Strategy<Value = Ask> {
    (address(), token(), of(outcome()), of(any::<u64>()), reason()).prop_map(
        |(address, token, outcome, retention_ms, reason)| {
            Ask::Resolve(ResolveAsk { address, token, outcome, retention_ms, reason })
        },
    )
}

fn list() -> impl Strategy<Value = Ask> {
    let state = of(select(StateKind::ALL.to_vec()));
    (any::<u32>(), tenant(), of(operation()), state, of(address()), any::<u32>()).prop_map(
        |(shard, tenant, operation, state, after, limit)| {
            Ask::List(ListAsk { shard, tenant, operation, state, after, limit })
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    let complete = (address(), token(), outcome(), of(any::<u64>())).prop_map(
        |(address, token, outcome, retention_ms)| {
            Ask::Complete(CompleteAsk { address, token, outcome, retention_ms })
        },
    );
    let release = (address(), token(), of(reason()))
        .prop_map(|(address, token, reason)| Ask::Release(ReleaseAsk { address, token, reason }));
    let mode = select(vec![ForgetMode::Erase, ForgetMode::Reset]);
    let forget = (address(), token(), mode, any::<bool>(), reason()).prop_map(
        |(address, token, mode, force, reason)| {
            Ask::Forget(ForgetAsk { address, token, mode, force, reason })
        },
    );
    let get = (address(), of(fingerprint()), any::<u64>(), any::<bool>()).prop_map(
        |(address, fingerprint, wait_ms, stale)| Ask::Get(GetAsk { address, fingerprint, wait_ms, stale }),
    );
    prop_oneof![claim(), renew(), complete, release, resolve(), forget, get, list()]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    (of(time()), ask()).prop_map(|(not_after, ask)| Request { not_after, ask })
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    (any::<u64>(), any::<u32>(), request()).prop_map(|(id, deadline_ms, request)| Call {
        id,
        deadline_ms,
        request,
    })
}

pub(crate) fn calls() -> impl Strategy<Value = Calls> {
    vec(call(), 0..12).prop_map(|calls| Calls { calls, malformed: Vec::<Malformed>::new() })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let hint = of((any::<u64>(), "[ -~]{0,40}"))
        .prop_map(|hint| hint.map(|(node, client_addr)| LeaderHint { node, client_addr }));
    (select(ErrorCode::ALL.to_vec()), any::<bool>(), "\\PC{0,80}", of("[a-z_]{0,20}"), hint)
        .prop_map(|(code, definite, text, field, hint)| Refusal { code, definite, text, field, hint })
}

fn view() -> impl Strategy<Value = View> {
    let detail = (of(outcome()), blob(100), of(label()), of(trace()), of(money())).prop_map(
        |(outcome, checkpoint, label, first_trace, value)| ViewDetail {
            outcome,
            checkpoint,
            label,
            first_trace,
            value,
            resolution: None,
        },
    );
    let state = select(StateKind::ALL.to_vec());
    (state, token(), any::<u32>(), of(time()), of(time()), any::<bool>(), of(class()), of(detail)).prop_map(
        |(state, token, attempt, since, until, marked, class, detail)| View {
            state,
            token,
            attempt,
            since,
            until,
            marked,
            class,
            detail,
        },
    )
}

fn bare_reply() -> impl Strategy<Value = Reply> {
    select(vec![
        Reply::TooOld,
        Reply::AlreadyCompleted,
        Reply::Conflict,
        Reply::Released,
        Reply::Resolved,
        Reply::NotInDoubt,
        Reply::Fenced,
        Reply::Ignored,
        Reply::Forgotten,
        Reply::Changed,
        Reply::Ended(Ended::Released),
        Reply::Ended(Ended::Lapsed),
    ])
}

/// Every reply but a grant.
fn refusing_reply() -> BoxedStrategy<Reply> {
    let in_flight = any::<(u32, u64, u64)>().prop_map(|(attempt, lease_left_ms, retry_after_ms)| {
        Reply::InFlight(InFlight { attempt, lease_left_ms, retry_after_ms })
    });
    let mismatch = (any::<bool>(), vec("[a-z]{1,64}", 0..16))
        .prop_map(|(algorithm, fields)| Reply::Mismatch(Mismatch { algorithm, fields }));
    let in_doubt =
        (token(), any::<u32>(), time(), blob(4096)).prop_map(|(token, attempt, since, checkpoint)| {
            Reply::InDoubt(InDoubtReply { token, attempt, since, checkpoint })
        });
    let replayed = (outcome(), time(), time(), any::<u32>(), of(trace())).prop_map(
        |(Outcome { class, result, metadata }, completed_at, expires_at, attempt, first_trace)| {
            Reply::Replayed(Replayed {
                class,
                result,
                metadata,
                completed_at,
                expires_at,
                attempt,
                first_trace,
            })
        },
    );
    let spent = (of(class()), time())
        .prop_map(|(class, completed_at)| Reply::Spent(SpentReply { class, completed_at }));
    let renewed = (time(), any::<u64>(), any::<bool>()).prop_map(|(deadline, lease_left_ms, marked)| {
        Reply::Renewed(Renewed { deadline, lease_left_ms, marked })
    });
    let completed = (any::<bool>(), time())
        .prop_map(|(late, expires_at)| Reply::Completed(CompletedReply { late, expires_at }));
    let page = (vec((address(), view()), 0..4), of(address())).prop_map(|(rows, next)| {
        let rows = rows.into_iter().map(|(address, view)| Row { address, view }).collect();
        Reply::Page(Page { rows, next })
    });
    prop_oneof![
        bare_reply(),
        in_flight,
        mismatch,
        in_doubt,
        replayed,
        spent,
        renewed,
        completed,
        view().prop_map(|view| Reply::State(Box::new(view))),
        page,
        refusal().prop_map(Reply::Error),
    ]
    .boxed()
}

fn granted() -> impl Strategy<Value = Reply> {
    let numbers = (token(), any::<u32>(), any::<u64>(), any::<u64>());
    let flags = any::<[bool; 3]>();
    let shadow_of = of(refusing_reply().prop_map(Box::new));
    (numbers, of(blob(4096)), flags, shadow_of).prop_map(|(numbers, checkpoint, flags, shadow_of)| {
        let (token, attempt, lease_ms, lease_left_ms) = numbers;
        let [takeover, prior_mark, recovered] = flags;
        Reply::Granted(Granted {
            token,
            attempt,
            lease_ms,
            lease_left_ms,
            checkpoint,
            takeover,
            prior_mark,
            recovered,
            shadow_of,
        })
    })
}

pub(crate) fn core_answer() -> impl Strategy<Value = hapax_core::Answer> {
    let basis = prop_oneof![Just(Basis::Applied), Just(Basis::Read), Just(Basis::Stale)];
    let witness = of((any::<u32>(), any::<u64>(), any::<u32>(), time(), basis)).prop_map(|witness| {
        witness.map(|(shard, index, position, time, basis)| Witness { shard, index, position, time, basis })
    });
    let reply = prop_oneof![1 => granted(), 3 => refusing_reply()];
    (reply, witness).prop_map(|(reply, witness)| hapax_core::Answer { reply, witness })
}

pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    (any::<u64>(), core_answer()).prop_map(|(id, answer)| Answer { id, answer })
}

pub(crate) fn table() -> impl Strategy<Value = ShardTable> {
    let replica = any::<(u64, u64)>().prop_map(|(node, replica)| ReplicaRef { node, replica });
    let shard = (any::<u32>(), of(any::<u64>()), vec(replica, 0..=16))
        .prop_map(|(shard, leader, replicas)| ShardEntry { shard, leader, replicas });
    let node = (any::<u64>(), "[a-z0-9-]{0,64}", "[ -~]{0,260}", "[a-z]{0,64}")
        .prop_map(|(id, name, client_addr, zone)| NodeEntry { id, name, client_addr, zone });
    (any::<u64>(), vec(shard, 0..40), vec(node, 0..7)).prop_map(|(version, shards, nodes)| ShardTable {
        version,
        shards,
        nodes,
    })
}

fn ballot() -> impl Strategy<Value = Ballot> {
    any::<(u64, u64, bool)>().prop_map(|(term, replica, committed)| Ballot { term, replica, committed })
}

fn position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(term, index)| Position { term, index })
}

fn append() -> impl Strategy<Value = Append> {
    let entry = (any::<u64>(), any::<u64>(), blob(600)).prop_map(|(term, index, payload)| Entry {
        term,
        index,
        payload,
    });
    let who = any::<(u32, u64, u64)>();
    (who, ballot(), of(position()), of(position()), vec(entry, 0..20)).prop_map(
        |((shard, from, to), ballot, prev, committed, entries)| Append {
            shard,
            from,
            to,
            ballot,
            prev,
            committed,
            entries,
        },
    )
}

fn outcome_of_append() -> impl Strategy<Value = AppendOutcome> {
    prop_oneof![
        of(position()).prop_map(AppendOutcome::Success),
        of(position()).prop_map(AppendOutcome::Partial),
        Just(AppendOutcome::Conflict),
        ballot().prop_map(AppendOutcome::HigherBallot),
        Just(AppendOutcome::Gone),
    ]
}

fn beats() -> impl Strategy<Value = PeerBody> {
    let beat = (any::<(u32, u64, u64)>(), ballot(), of(position()), of(position())).prop_map(
        |((shard, from, to), ballot, prev, committed)| Beat { shard, from, to, ballot, prev, committed },
    );
    vec(beat, 0..100).prop_map(|beats| Beats { beats }.into())
}

fn beat_replies() -> impl Strategy<Value = PeerBody> {
    let reply = (any::<u32>(), any::<u64>(), outcome_of_append())
        .prop_map(|(shard, to, outcome)| BeatReply { shard, to, outcome });
    vec(reply, 0..100).prop_map(|replies| BeatReplies { replies }.into())
}

pub(crate) fn peer_frame() -> impl Strategy<Value = PeerFrame> {
    let forward = (any::<u32>(), vec((call(), principal()), 0..6)).prop_map(|(hops, calls)| {
        let calls = calls.into_iter().map(|(call, principal)| Forwarded { call, principal }).collect();
        Forward { hops, calls, malformed: Vec::new() }.into()
    });
    let answers = vec((any::<u64>(), core_answer()), 0..6).prop_map(|answers| {
        let answers = answers.into_iter().map(|(id, answer)| ForwardedAnswer { id, answer }).collect();
        ForwardReplies { answers }.into()
    });
    let chunk = (any::<u32>(), any::<u32>(), blob(5000))
        .prop_map(|(seq, crc, bytes)| SnapshotChunk { seq, crc, bytes }.into());
    let body = prop_oneof![append().prop_map(Into::into), beats(), beat_replies(), forward, answers, chunk];
    (any::<u64>(), body).prop_map(|(rpc, body)| PeerFrame { rpc, body })
}
