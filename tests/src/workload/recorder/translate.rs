//! From what was said over the wire to what histories hold.

use crate::workload::payload::{address_name, fingerprint_of, payload, some_payload};
use hapax_checker::history::{self as to, Hash16, Name};
use hapax_core::command::ForgetMode;
use hapax_core::reply::{Ended, Granted};
use hapax_core::{Ask, Basis, ErrorCode, Metadata, Outcome, OutcomeClass, Reply, StateKind, View, Witness};

pub(super) fn call(ask: &Ask) -> to::Call {
    let address = ask.address().map(address_name).unwrap_or_default();
    match ask {
        Ask::Claim(ask) => to::Call::Claim(Box::new(to::Claim {
            address,
            fingerprint: ask.fingerprint.as_ref().map(fingerprint_of),
            fields: ask
                .fields
                .as_slice()
                .iter()
                .map(|field| to::Field {
                    name: Name::from(field.name.as_str()),
                    digest: Hash16::of(&field.digest),
                })
                .collect(),
            nonce: Hash16(*ask.nonce.as_bytes()),
            lease_ms: ask.lease_ms,
            wait_ms: ask.wait_ms,
            first_sent_ms: ask.first_sent.map(|time| time.0),
            label: ask.label.as_ref().map(|label| Name::from(label.as_str())),
            trace: ask.trace.as_ref().map(|trace| Name::from(trace.as_str())),
        })),
        Ask::Renew(ask) => to::Call::Renew(to::Renew {
            address,
            token: ask.token.as_u64(),
            seq: ask.seq,
            lease_ms: ask.lease_ms,
            checkpoint: ask.checkpoint.as_ref().map(|bytes| payload(bytes.as_slice())),
            mark: ask.mark,
        }),
        Ask::Complete(ask) => to::Call::Complete(to::Complete {
            address,
            token: ask.token.as_u64(),
            outcome: outcome(&ask.outcome),
            retention_ms: ask.retention_ms,
        }),
        Ask::Release(ask) => to::Call::Release(to::Release { address, token: ask.token.as_u64() }),
        Ask::Resolve(ask) => to::Call::Resolve(to::Resolve {
            address,
            token: ask.token.as_u64(),
            outcome: ask.outcome.as_ref().map(outcome),
            retention_ms: ask.retention_ms,
        }),
        Ask::Forget(ask) => to::Call::Forget(to::Forget {
            address,
            token: ask.token.as_u64(),
            mode: match ask.mode {
                ForgetMode::Erase => to::ForgetMode::Erase,
                ForgetMode::Reset => to::ForgetMode::Reset,
            },
            force: ask.force,
        }),
        Ask::Get(ask) => to::Call::Get(to::Get {
            address,
            fingerprint: ask.fingerprint.as_ref().map(fingerprint_of),
            wait_ms: ask.wait_ms,
            stale: ask.stale,
        }),
        Ask::List(ask) => to::Call::List(Box::new(to::List {
            shard: ask.shard,
            tenant: Name::from(ask.tenant.as_str()),
            operation: ask.operation.as_ref().map(|operation| Name::from(operation.as_str())),
            state: ask.state.map(state),
            after: ask.after.as_ref().map(address_name),
            limit: ask.limit,
        })),
    }
}

pub(super) fn reply(reply: &Reply) -> to::Reply {
    match reply {
        Reply::Granted(it) => to::Reply::Granted(Box::new(granted(it))),
        Reply::InFlight(it) => to::Reply::InFlight { attempt: it.attempt, lease_left_ms: it.lease_left_ms },
        Reply::Mismatch(it) => to::Reply::Mismatch {
            algorithm: it.algorithm,
            fields: it.fields.iter().map(|name| Name::from(name.as_str())).collect(),
        },
        Reply::Ended(Ended::Released) => to::Reply::Ended(to::Ended::Released),
        Reply::Ended(Ended::Lapsed) => to::Reply::Ended(to::Ended::Lapsed),
        Reply::InDoubt(it) => to::Reply::InDoubt {
            token: it.token.as_u64(),
            attempt: it.attempt,
            since_ms: it.since.0,
            checkpoint: some_payload(it.checkpoint.as_slice()),
        },
        Reply::Replayed(it) => to::Reply::Replayed(Box::new(to::Replayed {
            outcome: to::Outcome {
                class: class(it.class),
                result: payload(it.result.as_slice()),
                metadata: metadata(&it.metadata),
            },
            completed_at_ms: it.completed_at.0,
            expires_at_ms: it.expires_at.0,
            attempt: it.attempt,
            first_trace: it.first_trace.as_ref().map(|trace| Name::from(trace.as_str())),
        })),
        Reply::Spent(it) => {
            to::Reply::Spent { class: it.class.map(class), completed_at_ms: it.completed_at.0 }
        }
        Reply::TooOld => to::Reply::TooOld,
        Reply::Renewed(it) => to::Reply::Renewed {
            deadline_ms: it.deadline.0,
            lease_left_ms: it.lease_left_ms,
            marked: it.marked,
        },
        Reply::Completed(it) => to::Reply::Completed { late: it.late, expires_at_ms: it.expires_at.0 },
        Reply::AlreadyCompleted => to::Reply::AlreadyCompleted,
        Reply::Conflict => to::Reply::Conflict,
        Reply::Released => to::Reply::Released,
        Reply::Resolved => to::Reply::Resolved,
        Reply::NotInDoubt => to::Reply::NotInDoubt,
        Reply::Fenced => to::Reply::Fenced,
        Reply::Ignored => to::Reply::Ignored,
        Reply::Forgotten => to::Reply::Forgotten,
        Reply::Changed => to::Reply::Changed,
        Reply::State(it) => to::Reply::State(Box::new(view(it))),
        Reply::Page(page) => to::Reply::Page {
            rows: page
                .rows
                .iter()
                .map(|row| to::Row { address: address_name(&row.address), view: view(&row.view) })
                .collect(),
            next: page.next.as_ref().map(address_name),
        },
        Reply::Error(refusal) => to::Reply::Error { code: code(refusal.code), definite: refusal.definite },
    }
}

fn granted(it: &Granted) -> to::Granted {
    to::Granted {
        token: it.token.as_u64(),
        attempt: it.attempt,
        lease_ms: it.lease_ms,
        lease_left_ms: it.lease_left_ms,
        checkpoint: it.checkpoint.as_ref().and_then(|bytes| some_payload(bytes.as_slice())),
        takeover: it.takeover,
        prior_mark: it.prior_mark,
        recovered: it.recovered,
        shadow_of: it.shadow_of.as_ref().map(|it| Box::new(reply(it))),
    }
}

pub(super) fn witness(witness: &Witness) -> to::Witness {
    to::Witness {
        shard: witness.shard,
        index: witness.index,
        position: witness.position,
        log_time_ms: witness.time.0,
        basis: match witness.basis {
            Basis::Applied => to::Basis::Applied,
            Basis::Read => to::Basis::Read,
            Basis::Stale => to::Basis::Stale,
        },
    }
}

fn view(it: &View) -> to::View {
    to::View {
        state: state(it.state),
        token: it.token.as_u64(),
        attempt: it.attempt,
        since_ms: it.since.map(|time| time.0),
        until_ms: it.until.map(|time| time.0),
        marked: it.marked,
        class: it.class.map(class),
        detail: it.detail.as_ref().map(|it| {
            Box::new(to::Detail {
                outcome: it.outcome.as_ref().map(outcome),
                checkpoint: some_payload(it.checkpoint.as_slice()),
                label: it.label.as_ref().map(|label| Name::from(label.as_str())),
                first_trace: it.first_trace.as_ref().map(|trace| Name::from(trace.as_str())),
            })
        }),
    }
}

fn outcome(it: &Outcome) -> to::Outcome {
    to::Outcome {
        class: class(it.class),
        result: payload(it.result.as_slice()),
        metadata: metadata(&it.metadata),
    }
}

/// Parts that are absent, empty or next to each other must not look alike.
fn metadata(it: &Metadata) -> Hash16 {
    Hash16::of(format!("{:?} {:?} {:?}", it.content_type, it.status, it.headers).as_bytes())
}

fn class(class: OutcomeClass) -> to::Class {
    match class {
        OutcomeClass::Success => to::Class::Success,
        OutcomeClass::Rejected => to::Class::Rejected,
        OutcomeClass::Error => to::Class::Error,
    }
}

fn state(state: StateKind) -> to::StateKind {
    match state {
        StateKind::Absent => to::StateKind::Absent,
        StateKind::Claimed => to::StateKind::Claimed,
        StateKind::Open => to::StateKind::Open,
        StateKind::InDoubt => to::StateKind::InDoubt,
        StateKind::Completed => to::StateKind::Completed,
        StateKind::Spent => to::StateKind::Spent,
    }
}

fn code(code: ErrorCode) -> to::ErrorCode {
    match code {
        ErrorCode::NotLeader => to::ErrorCode::NotLeader,
        ErrorCode::Unavailable => to::ErrorCode::Unavailable,
        ErrorCode::Deadline => to::ErrorCode::Deadline,
        ErrorCode::TooLate => to::ErrorCode::TooLate,
        ErrorCode::Overloaded => to::ErrorCode::Overloaded,
        ErrorCode::TooLarge => to::ErrorCode::TooLarge,
        ErrorCode::Invalid => to::ErrorCode::Invalid,
        ErrorCode::Unauthenticated => to::ErrorCode::Unauthenticated,
        ErrorCode::Forbidden => to::ErrorCode::Forbidden,
        ErrorCode::Quota => to::ErrorCode::Quota,
        ErrorCode::WrongCluster => to::ErrorCode::WrongCluster,
        ErrorCode::Version => to::ErrorCode::Version,
    }
}
