//! What a random history is made of.

use super::Run;
use crate::world::*;
use hapax_core::command::{
    Claim, Command, Complete, FORMAT, Forget, ForgetMode, Release, Renew, Resolve, Verb, Verdict,
    VerdictComplete,
};
use hapax_core::policy::{Mode, OnLapse, Terms};
use hapax_core::{
    Address, Blob, Fingerprint, Label, LogTime, Outcome, OutcomeClass, Principal, Reason, Token, Trace,
};
use proptest::prelude::*;

/// The same key at four places: two operations of a tenant, a tenant below it, another tenant.
pub(super) fn addresses() -> [Address; 4] {
    [("acme", "pay"), ("acme", "refund"), ("acme/m1", "pay"), ("zeta", "pay")]
        .map(|(tenant, operation)| address_of(tenant, operation, "k"))
}

#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) place: usize,
    pub(super) own_entry: bool,
    pub(super) twice: bool,
    advance: Advance,
    stranger: bool,
    not_after: Option<i64>,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Advance {
    /// The stamp lies this much after the log time, or before it.
    By(i64),
    /// To the next deadline of the place's record, or next to it.
    ToDeadline(i64),
}

#[derive(Clone, Debug)]
enum Act {
    Claim {
        nonce: u8,
        fingerprint: u8,
        other_algorithm: bool,
        sent_ago: Option<u64>,
        rules: Rules,
    },
    Renew {
        token: Pick,
        seq: u64,
        lease_ms: u64,
        checkpoint: Option<bool>,
        mark: bool,
    },
    Complete {
        token: Pick,
        outcome: u8,
        retention_ms: u64,
    },
    Release {
        token: Pick,
    },
    Resolve {
        token: Pick,
        outcome: Option<u8>,
    },
    Forget {
        token: Pick,
        reset: bool,
        force: bool,
    },
    /// An earlier command once more.
    Late(prop::sample::Index),
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    on_lapse: OnLapse,
    mode: Mode,
    lease_ms: u64,
    memory_ms: u64,
    name_fields: bool,
}

/// Which token a verb carries.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Last,
    Earlier,
    /// Of a grant at another address.
    Elsewhere,
    /// Of the grant that the first command of this entry may get.
    Next,
    Shadow,
}

fn advance() -> impl Strategy<Value = Advance> {
    prop_oneof![
        4 => (0i64..30).prop_map(Advance::By),
        1 => (-100i64..0).prop_map(Advance::By),
        2 => (30i64..300).prop_map(Advance::By),
        1 => (300i64..2000).prop_map(Advance::By),
        4 => (-1i64..2).prop_map(Advance::ToDeadline),
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        10 => Just(Pick::Last),
        2 => Just(Pick::Earlier),
        1 => Just(Pick::Elsewhere),
        1 => Just(Pick::Next),
        1 => Just(Pick::Shadow),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let on_lapse = prop_oneof![
        3 => Just(OnLapse::TakeoverUnlessMarked),
        1 => Just(OnLapse::AlwaysInDoubt),
        1 => Just(OnLapse::AlwaysTakeover),
    ];
    let mode = prop_oneof![10 => Just(Mode::Enforce), 2 => Just(Mode::Observe), 1 => Just(Mode::Off)];
    let lease_ms = prop_oneof![Just(50u64), Just(100), Just(900)];
    let memory_ms = prop_oneof![1 => Just(0u64), 3 => Just(700)];
    (on_lapse, mode, lease_ms, memory_ms, any::<bool>()).prop_map(
        |(on_lapse, mode, lease_ms, memory_ms, name_fields)| Rules {
            on_lapse,
            mode,
            lease_ms,
            memory_ms,
            name_fields,
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    let claim = (1u8..5, 0u8..8, prop::bool::weighted(0.1), prop::option::weighted(0.2, 0u64..1500), rules());
    let checkpoint = prop::option::of(prop::bool::weighted(0.7));
    let renew = (pick(), 0u64..6, 0u64..400, checkpoint, prop::bool::weighted(0.4));
    let outcome = prop::option::weighted(0.6, 0u8..2);
    let retention_ms = prop_oneof![Just(1u64), Just(150), Just(400)];
    prop_oneof![
        8 => claim.prop_map(|(nonce, fingerprint, other_algorithm, sent_ago, rules)| Act::Claim {
            nonce, fingerprint: u8::from(fingerprint == 0), other_algorithm, sent_ago, rules
        }),
        4 => renew.prop_map(|(token, seq, lease_ms, checkpoint, mark)| Act::Renew {
            token, seq, lease_ms, checkpoint, mark
        }),
        3 => (pick(), 0u8..2, retention_ms).prop_map(|(token, outcome, retention_ms)| Act::Complete {
            token, outcome, retention_ms
        }),
        2 => pick().prop_map(|token| Act::Release { token }),
        3 => (pick(), outcome).prop_map(|(token, outcome)| Act::Resolve { token, outcome }),
        1 => (pick(), any::<bool>(), any::<bool>())
            .prop_map(|(token, reset, force)| Act::Forget { token, reset, force }),
        4 => any::<prop::sample::Index>().prop_map(Act::Late),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    (
        prop_oneof![5 => Just(0usize), 1 => Just(1), 1 => Just(2), 1 => Just(3)],
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.2),
        advance(),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.1, -50i64..50),
        act(),
    )
        .prop_map(|(place, own_entry, twice, advance, stranger, not_after, act)| Op {
            place,
            own_entry,
            twice,
            advance,
            stranger,
            not_after,
            act,
        })
}

impl Run {
    /// The leader's stamp of the entry that begins with this operation.
    pub(super) fn time_of(&self, op: &Op) -> u64 {
        let now = self.world.state.time.0.max(10_000);
        let record = self.world.records.0.get(&addresses()[op.place]);
        match op.advance {
            Advance::By(ms) => now.saturating_add_signed(ms),
            Advance::ToDeadline(offset) => record
                .and_then(|record| record.next_deadline(LogTime(now)))
                .map_or(now, |deadline| deadline.0.saturating_add_signed(offset)),
        }
    }

    pub(super) fn command(&self, op: &Op) -> Command {
        if let Act::Late(index) = &op.act
            && !self.sent.is_empty()
        {
            return index.get(&self.sent).clone();
        }
        let now = self.time_of(op);
        let principal = Principal::new(if op.stranger { "stranger" } else { "" }).unwrap();
        let not_after = op.not_after.map(|ms| LogTime(now.saturating_add_signed(ms)));
        let address = addresses()[op.place].clone();
        Command { format: FORMAT, principal, not_after, address, verb: self.verb(op, now) }
    }

    fn verb(&self, op: &Op, now: u64) -> Verb {
        match &op.act {
            Act::Claim { nonce, fingerprint, other_algorithm, sent_ago, rules } => {
                let sent = sent_ago.map(|ago| LogTime(now.saturating_sub(ago)));
                Verb::Claim(claim(op.place, *nonce, *fingerprint, *other_algorithm, sent, *rules))
            }
            Act::Late(_) => Verb::Release(Release { token: Token::from(1), reason: None }),
            Act::Renew { token, seq, lease_ms, checkpoint, mark } => {
                let token = self.token(op.place, *token);
                let secret = |full: &bool| if *full { self.secret(op.place, token) } else { String::new() };
                let checkpoint = checkpoint.as_ref().map(|full| Blob::from(secret(full).as_str()));
                Verb::Renew(Renew { token, seq: *seq, lease_ms: *lease_ms, checkpoint, mark: *mark })
            }
            Act::Complete { token, outcome, retention_ms } => {
                let token = self.token(op.place, *token);
                let outcome = self.outcome(op.place, token, *outcome);
                Verb::Complete(Complete { token, outcome, retention_ms: *retention_ms })
            }
            Act::Release { token } => {
                Verb::Release(Release { token: self.token(op.place, *token), reason: None })
            }
            Act::Resolve { token, outcome } => {
                let token = self.token(op.place, *token);
                let verdict = outcome.map_or(Verdict::Release, |outcome| {
                    let outcome = self.outcome(op.place, token, outcome);
                    Verdict::Complete(VerdictComplete { outcome, retention_ms: 400 })
                });
                Verb::Resolve(Resolve { token, verdict, reason: Reason::default() })
            }
            Act::Forget { token, reset, force } => Verb::Forget(Forget {
                token: self.token(op.place, *token),
                mode: if *reset { ForgetMode::Reset } else { ForgetMode::Erase },
                force: *force,
                reason: Reason::default(),
            }),
        }
    }

    fn token(&self, place: usize, pick: Pick) -> Token {
        let of = |place: usize| self.tokens.get(&addresses()[place]).map_or(&[][..], Vec::as_slice);
        let token = match pick {
            Pick::Last => of(place).last().copied(),
            Pick::Earlier => of(place).iter().rev().nth(1).copied(),
            Pick::Elsewhere => of((place + 1) % 4).last().copied(),
            Pick::Next => Token::of_grant(1, self.world.state.index + 1, 0),
            Pick::Shadow => Some(Token::NONE),
        };
        token.unwrap_or(Token::from(77))
    }

    /// A payload that says whose it is: nobody else may ever be shown it. (Where that is not known
    /// yet, it says nothing.)
    fn secret(&self, place: usize, token: Token) -> String {
        let whose = self.fingerprints.get(&token);
        whose.map_or_else(|| "anything".to_owned(), |fingerprint| secret(place, *fingerprint))
    }

    fn outcome(&self, place: usize, token: Token, which: u8) -> Outcome {
        let class = [OutcomeClass::Success, OutcomeClass::Rejected][usize::from(which)];
        outcome(class, &self.secret(place, token))
    }
}

fn secret(place: usize, fingerprint: u8) -> String {
    format!("secret:{place}:{fingerprint}")
}

fn claim(
    place: usize,
    nonce_of: u8,
    fingerprint_of: u8,
    other_algorithm: bool,
    first_sent: Option<LogTime>,
    rules: Rules,
) -> Claim {
    let algorithm = if other_algorithm { Fingerprint::ALGORITHM_OPAQUE } else { 1 };
    Claim {
        fingerprint: Fingerprint { algorithm, ..fingerprint(fingerprint_of) },
        fields: fields(&[("amount", fingerprint_of), ("payee", 5)]),
        nonce: nonce(nonce_of),
        lease_ms: rules.lease_ms,
        first_sent,
        label: Some(Label::new(secret(place, fingerprint_of)).unwrap()),
        trace: Some(Trace::new(secret(place, fingerprint_of)).unwrap()),
        value: None,
        name_fields: rules.name_fields,
        terms: Terms {
            on_lapse: rules.on_lapse,
            mode: rules.mode,
            max_hold_ms: 500,
            abandoned_ms: 250,
            retention_success_ms: 400,
            memory_ms: rules.memory_ms,
        },
    }
}
