//! The lines of a told history.
//!
//! Each line is an operation on one address, `verb arguments -> reply`, sent 10 ms after the last one and
//! answered 5 ms later, applied at the next log index. Words change that:
//!
//! - `wait N`: N ms pass. `until N`: an operation takes N ms.
//! - `@-N` before the verb: it was sent N ms before.
//! - names: `n1` a nonce, `f1` a fingerprint (default `f1`), `T1` a token (bound where it is granted; `T9`
//!   of `bind T9 = index+N` names one before), `r1` a result, `c1` a checkpoint.
//! - replies: `granted T1 [attempt N] [recovered] [prior] [c1]`, `replayed r1 [attempt N]`, `state KIND T1
//!   [attempt N] [r1]`, and so on; `lost` is no answer (`lost kept`: of a claim that was granted), `refused` a definite error, `unsure` an indefinite one.
//! - `read`: answered from applied state. `index-N`, `time-N`, `time+N`: the witness says otherwise.
//! - `policy NAME VALUE` before the first operation.
//! - `waits`: a get that waits for its state to end.
//! - `batch N`: sent in a frame, together with the others of that number, and applied in one entry; `id N`
//!   is its place among them, where that is not the order of the lines.
//! - `amount=1` and the like: the digest of a named field; `mismatch amount` names it. `alg N` is another
//!   algorithm of the fingerprint.
//! - `list [in STATE] -> page [STATE T1 …]`: a page of the tenant, with the record or without; `more` says
//!   that it goes on, `foreign` that its row is another tenant's.
//! - `shadow of REPLY`: under observe, what would have been answered.
//! - lines about the run: `phase NAME`, `node N`, `planned ID KIND`, `fault ID KIND [proved]`, `expect reply
//!   KIND`, `expect PHASE N`, `final_scan` (must be whole), `log NODE COMMITTED INDEX:TERM:BYTES …`.
//!
//! Lease 1000 ms, retention 10 s, memory 20 s, abandoned 5 s; log time is real time plus 1000 s.

use hapax_checker::Tier;
use hapax_checker::history::*;
use std::collections::HashMap;

pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) rules: Vec<String>,
    /// What makes the run void, if it is.
    pub(crate) void: Option<String>,
    pub(crate) final_scan: bool,
    pub(crate) history: History,
}

struct Teller {
    history: History,
    now_us: u64,
    index: u64,
    tokens: HashMap<String, u64>,
    /// When a result was kept, and until when.
    kept: HashMap<String, (u64, u64)>,
    deadline_ms: u64,
    phase: Phase,
    node: u32,
}

pub(crate) fn parse(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut teller = Teller::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            teller = Teller::new();
            let (kind, _) = title.split_once(':').unwrap();
            let named = kind.strip_prefix("bad(").and_then(|rest| rest.strip_suffix(')')).unwrap_or("");
            let tiers = named.split(',').filter(|name| !name.is_empty()).map(|name| match name.trim() {
                "scan" => Tier::Scan,
                "witness" => Tier::Witness,
                "blind" => Tier::Blind,
                other => panic!("no tier {other}"),
            });
            let history = teller.history.clone();
            let void = kind.strip_prefix("void(").and_then(|rest| rest.strip_suffix(')'));
            cases.push(Case {
                title: title.to_owned(),
                tiers: tiers.collect(),
                rules: Vec::new(),
                void: void.map(ToOwned::to_owned),
                final_scan: false,
                history,
            });
        } else if line == "final_scan" {
            cases.last_mut().unwrap().final_scan = true;
        } else if let Some(rule) = line.strip_prefix("rule ") {
            cases.last_mut().unwrap().rules.push(rule.to_owned());
        } else {
            teller.line(line);
            cases.last_mut().unwrap().history = teller.history.clone();
        }
    }
    cases
}

impl Teller {
    fn new() -> Self {
        let mut header = Header::new("told", 0);
        header.policies = vec![PolicyRow {
            tenant: "*".into(),
            operation: "*".into(),
            policy: Policy {
                lease_ms: 1000,
                lease_min_ms: 100,
                retention_success_ms: 10_000,
                retention_rejected_ms: 10_000,
                retention_error_ms: 500,
                retention_min_ms: 100,
                memory_ms: 20_000,
                abandoned_ms: 5000,
                ..Policy::default()
            },
        }];
        Self {
            history: History::new(header),
            now_us: 0,
            index: 10,
            tokens: HashMap::new(),
            kept: HashMap::new(),
            deadline_ms: 0,
            phase: Phase::Faults,
            node: 1,
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "wait" => self.now_us += words[1].parse::<u64>().unwrap() * 1000,
            "skip" => self.index += words[1].parse::<u64>().unwrap(),
            "bind" => {
                let ahead: u64 = words[3].strip_prefix("index+").unwrap().parse().unwrap();
                self.tokens.insert(words[1].to_owned(), (self.index + ahead) << 12);
            }
            "policy" => self.policy(words[1], words[2]),
            "private" => self.history.header.everyone_reads = false,
            "exact_clocks" => self.history.header.clock.may_stall = false,
            "phase" => self.phase = serde_json::from_value(words[1].into()).unwrap(),
            "node" => self.node = words[1].parse().unwrap(),
            "planned" => {
                let (id, kind) = (words[1].parse().unwrap(), words[2].to_owned());
                self.history.header.planned.push(PlannedFault { id, kind, target: String::new() });
            }
            "fault" => self.fault(&words),
            "expect" if words[1] == "reply" => {
                self.history.header.expect.replies.push(words[2].to_owned());
            }
            "expect" => {
                let phase = serde_json::from_value(words[1].into()).unwrap();
                self.history.header.expect.successes.insert(phase, words[2].parse().unwrap());
            }
            "log" => self.log(&words),
            _ => self.operation(&words),
        }
    }

    fn fault(&mut self, words: &[&str]) {
        self.history.faults.push(Fault {
            planned: Some(words[1].parse().unwrap()),
            kind: words[2].to_owned(),
            target: String::new(),
            at_us: self.now_us,
            proved: words.contains(&"proved"),
            evidence: String::new(),
            healed_at_us: None,
            served_again_us: None,
        });
    }

    fn log(&mut self, words: &[&str]) {
        let entry = |word: &&str| {
            let mut parts = word.split(':');
            let mut number = || parts.next().unwrap().parse().unwrap();
            let (index, term) = (number(), number());
            LogEntry { index, term, digest: Hash16::of(parts.next().unwrap().as_bytes()) }
        };
        self.history.logs.push(LogDump {
            node: words[1].parse().unwrap(),
            shard: 0,
            committed: words[2].parse().unwrap(),
            entries: words[3..].iter().map(entry).collect(),
        });
    }

    fn policy(&mut self, name: &str, value: &str) {
        let policy = &mut self.history.header.policies[0].policy;
        let mut json = serde_json::to_value(&*policy).unwrap();
        json[name] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        *policy = serde_json::from_value(json).unwrap();
    }

    fn operation(&mut self, words: &[&str]) {
        let (words, sent_before) = match words[0].strip_prefix("@-") {
            Some(ms) => (&words[1..], ms.parse::<u64>().unwrap()),
            None => (words, 0),
        };
        let arrow = words.iter().position(|word| *word == "->").unwrap();
        let (asked, answered) = (&words[..arrow], &words[arrow + 1..]);
        let took = number(asked, "until").unwrap_or(5);
        let batch = number(asked, "batch");
        let in_frame = |it: &&Operation| batch.is_some() && it.batch == batch;
        let frame = self.history.operations.iter().find(in_frame).cloned();
        self.now_us += if frame.is_some() { 0 } else { 10_000 };
        let invoke_us = frame.as_ref().map_or(self.now_us, |first| first.invoke_us);
        let invoke_us = invoke_us.saturating_sub(sent_before * 1000);
        self.now_us += if frame.is_some() { 0 } else { took * 1000 };
        self.index += u64::from(frame.is_none());
        let position = self.history.operations.iter().filter(in_frame).count();
        let read = answered.contains(&"read") || answered.contains(&"stale");
        let mut witness = Witness {
            shard: u32::try_from(number(answered, "shard").unwrap_or(0)).unwrap(),
            index: self.index,
            position: u32::try_from(position).unwrap(),
            log_time_ms: 1_000_000 + self.now_us / 1000 - 2,
            basis: if answered.contains(&"stale") {
                Basis::Stale
            } else if read {
                Basis::Read
            } else {
                Basis::Applied
            },
        };
        for word in answered {
            match word.split_once(['-', '+']) {
                Some(("index", by)) => witness.index -= by.parse::<u64>().unwrap(),
                Some(("time", by)) if word.contains('-') => witness.log_time_ms -= by.parse::<u64>().unwrap(),
                Some(("time", by)) => witness.log_time_ms += by.parse::<u64>().unwrap(),
                _ => (),
            }
        }
        let call = self.call(asked);
        let reply = self.reply(answered, &call, &witness);
        let answered_at = (reply != Reply::None).then_some(self.now_us);
        let id = number(asked, "id").unwrap_or(self.history.operations.len() as u64 + 1);
        let told = !matches!(reply, Reply::None | Reply::Error { .. });
        self.history.operations.push(Operation {
            id,
            client: format!("c{id}").into(),
            node: Some(self.node),
            phase: self.phase,
            invoke_us,
            return_us: answered_at,
            batch,
            principal: Name::default(),
            not_after_ms: number(asked, "not_after").map(|after| 1_000_000 + after),
            call,
            reply,
            witness: told.then_some(witness),
        });
    }

    fn token(&self, words: &[&str]) -> u64 {
        let name = words.iter().find(|word| word.starts_with('T') && word.len() > 1);
        name.map_or(0, |name| *self.tokens.get(*name).unwrap_or(&77))
    }

    fn payload(&self, words: &[&str], prefix: char) -> Option<Payload> {
        let numbered = |word: &str| {
            word.chars().skip(1).all(|c| c.is_ascii_digit() || "~!?".contains(c)) && word.len() > 1
        };
        let name = words.iter().find(|word| word.starts_with(prefix) && numbered(word))?;
        // Whose the bytes say they are: `r1~` another request's, `r1~~` another tenant's, `r1!` another
        // key's; `r1?` cannot be read.
        let other = match name.trim_start_matches(|c: char| c.is_alphanumeric()) {
            "~~" => address("other", "pay", b"k"),
            "!" => address("shop", "pay", b"other"),
            _ => address("shop", "pay", b"k"),
        };
        let owner = Owner {
            address: other,
            fingerprint: if name.ends_with('~') && !name.ends_with("~~") {
                fingerprint("f2")
            } else {
                fingerprint("f1")
            },
            token: *self.tokens.get("T1").unwrap_or(&0),
        };
        let digest = Hash16::of(name.as_bytes());
        Some(Payload { digest, len: 10, owner: (!name.ends_with('?')).then(|| Box::new(owner)) })
    }

    fn outcome(&self, words: &[&str]) -> Option<Outcome> {
        let class = if words.contains(&"error") { Class::Error } else { Class::Success };
        let result = self.payload(words, 'r')?;
        Some(Outcome { class, result, metadata: Hash16::default() })
    }

    fn call(&self, words: &[&str]) -> Call {
        let address = address("shop", "pay", b"k");
        let token = self.token(words);
        match words[0] {
            "claim" => {
                let of = |prefix| words[1..].iter().find(|word| word.starts_with(prefix));
                Call::Claim(Box::new(Claim {
                    address,
                    fingerprint: Some(Fingerprint {
                        algorithm: u16::try_from(number(words, "alg").unwrap_or(1)).unwrap(),
                        ..fingerprint(of('f').unwrap_or(&"f1"))
                    }),
                    fields: words.iter().filter_map(|word| field(word)).collect(),
                    nonce: Hash16::of(of('n').unwrap().as_bytes()),
                    lease_ms: number(words, "lease"),
                    first_sent_ms: number(words, "sent").map(|sent| 1_000_000 + sent),
                    ..Claim::default()
                }))
            }
            "renew" => Call::Renew(Renew {
                address,
                token,
                seq: number(words, "seq").unwrap_or(1),
                lease_ms: number(words, "lease"),
                checkpoint: self.payload(words, 'c'),
                mark: words.contains(&"mark"),
            }),
            "complete" => {
                let outcome = self.outcome(&words[1..]).unwrap();
                Call::Complete(Complete { address, token, outcome, retention_ms: None })
            }
            "release" => Call::Release(Release { address, token }),
            "resolve" => {
                let outcome = self.outcome(&words[1..]);
                Call::Resolve(Resolve { address, token, outcome, retention_ms: None })
            }
            "forget" => Call::Forget(Forget {
                address,
                token,
                mode: if words.contains(&"reset") { ForgetMode::Reset } else { ForgetMode::Erase },
                force: words.contains(&"force"),
            }),
            "get" => Call::Get(Get {
                address,
                fingerprint: words.iter().find(|word| word.starts_with('f')).map(|word| fingerprint(word)),
                wait_ms: if words.contains(&"waits") { 1000 } else { 0 },
                stale: words.contains(&"stale"),
            }),
            "list" => Call::List(Box::new(List {
                shard: 0,
                tenant: "shop".into(),
                state: state_after(words, "in"),
                limit: 100,
                ..List::default()
            })),
            other => panic!("no verb {other}"),
        }
    }

    fn reply(&mut self, words: &[&str], call: &Call, witness: &Witness) -> Reply {
        let now = witness.log_time_ms;
        let attempt = u32::try_from(number(words, "attempt").unwrap_or(1)).unwrap();
        let result = words.iter().find(|word| self.kept.contains_key(**word));
        let (kept_at, kept_until) = result.map_or((now, now), |name| self.kept[*name]);
        match words[0] {
            "granted" => {
                let recovered = words.contains(&"recovered");
                let name = words[1].to_owned();
                let token = if recovered { self.token(words) } else { witness.index << 12 };
                let token = number(words, "token").unwrap_or(token);
                self.tokens.insert(name, token);
                let Call::Claim(claim) = call else { panic!("granted to what is no claim") };
                let lease_ms = claim.lease_ms.unwrap_or(1000);
                if !recovered {
                    self.deadline_ms = now + lease_ms;
                }
                Reply::Granted(Box::new(Granted {
                    token,
                    attempt,
                    lease_ms,
                    lease_left_ms: self.deadline_ms.saturating_sub(now),
                    checkpoint: self.payload(&words[1..], 'c'),
                    takeover: attempt > 1,
                    prior_mark: words.contains(&"prior"),
                    recovered,
                    shadow_of: None,
                }))
            }
            "shadow" => {
                let of = words.iter().position(|word| *word == "of");
                let shadow_of = of.map(|at| Box::new(self.reply(&words[at + 1..], call, witness)));
                Reply::Granted(Box::new(Granted {
                    lease_ms: 1000,
                    lease_left_ms: 1000,
                    shadow_of,
                    ..Granted::default()
                }))
            }
            "in_flight" => Reply::InFlight { attempt, lease_left_ms: self.deadline_ms.saturating_sub(now) },
            "mismatch" => Reply::Mismatch {
                algorithm: words.contains(&"algorithm"),
                fields: words
                    .iter()
                    .filter(|word| FIELDS.contains(word))
                    .map(|word| (*word).into())
                    .collect(),
            },
            "ended" => Reply::Ended(if words[1] == "lapsed" { Ended::Lapsed } else { Ended::Released }),
            "in_doubt" => Reply::InDoubt {
                token: self.token(words),
                attempt,
                since_ms: self.deadline_ms,
                checkpoint: self.payload(&words[1..], 'c'),
            },
            "replayed" => Reply::Replayed(Box::new(Replayed {
                outcome: self.outcome(&words[1..]).unwrap(),
                completed_at_ms: kept_at,
                expires_at_ms: kept_until,
                attempt,
                first_trace: None,
            })),
            "spent" => Reply::Spent {
                class: (!words.contains(&"unended")).then_some(Class::Success),
                completed_at_ms: kept_at,
            },
            "renewed" => {
                let Call::Renew(renew) = call else { panic!("renewed what is no renew") };
                self.deadline_ms = self.deadline_ms.max(now + renew.lease_ms.unwrap_or(1000));
                let deadline_ms = self.deadline_ms - number(words, "less").unwrap_or(0);
                let marked = words.contains(&"marked");
                Reply::Renewed { deadline_ms, lease_left_ms: deadline_ms - now, marked }
            }
            "completed" => {
                let Call::Complete(complete) = call else { panic!("completed what is no complete") };
                let ms = if complete.outcome.class == Class::Error { 500 } else { 10_000 };
                for name in ["r1", "r2", "r3", "r1~", "r1~~", "r1!", "r1?"] {
                    if complete.outcome.result.digest == Hash16::of(name.as_bytes()) {
                        self.kept.insert(name.to_owned(), (now, now + ms));
                    }
                }
                Reply::Completed { late: words.contains(&"late"), expires_at_ms: now + ms }
            }
            "state" => Reply::State(Box::new(self.view(words, attempt, (kept_at, kept_until)))),
            "page" => self.page(words, attempt, (kept_at, kept_until)),
            "lost" => {
                if let (Call::Claim(claim), true) = (call, words.contains(&"kept")) {
                    self.deadline_ms = now + claim.lease_ms.unwrap_or(1000);
                }
                Reply::None
            }
            "refused" => Reply::Error { code: ErrorCode::Unavailable, definite: true },
            "unsure" => Reply::Error { code: ErrorCode::Deadline, definite: false },
            "too_late" => Reply::Error { code: ErrorCode::TooLate, definite: true },
            "quota" => Reply::Error { code: ErrorCode::Quota, definite: true },
            "overloaded?" => Reply::Error { code: ErrorCode::Overloaded, definite: false },
            plain => serde_json::from_value(plain.into()).unwrap(),
        }
    }

    fn page(&self, words: &[&str], attempt: u32, kept: (u64, u64)) -> Reply {
        let tenant = if words.contains(&"foreign") { "other" } else { "shop" };
        let listed = state_after(words, "page").map(|_| {
            let view = View { detail: None, ..self.view(words, attempt, kept) };
            Row { address: address(tenant, "pay", b"k"), view }
        });
        let next = words.contains(&"more").then(|| address("shop", "pay", b"k"));
        Reply::Page { rows: listed.into_iter().collect(), next }
    }

    fn view(&self, words: &[&str], attempt: u32, kept: (u64, u64)) -> View {
        let state: StateKind = serde_json::from_value(words[1].into()).unwrap();
        let absent = state == StateKind::Absent;
        let completed = state == StateKind::Completed;
        let outcome = self.outcome(&words[2..]);
        let detail = Detail { outcome, checkpoint: self.payload(&words[2..], 'c'), ..Detail::default() };
        let shown = !absent && !words.contains(&"closed");
        View {
            state,
            token: self.token(words),
            attempt: if absent { 0 } else { attempt },
            since_ms: completed.then_some(kept.0),
            until_ms: completed.then_some(kept.1),
            marked: words.contains(&"marked"),
            class: (completed && shown).then_some(Class::Success),
            detail: shown.then(|| Box::new(detail)),
        }
    }
}

/// The fields that a claim may name.
const FIELDS: [&str; 3] = ["amount", "currency", "secret"];

fn field(word: &str) -> Option<Field> {
    let (name, digest) = word.split_once('=')?;
    Some(Field { name: name.into(), digest: Hash16::of(digest.as_bytes()) })
}

/// The state that is named right after a word.
fn state_after(words: &[&str], name: &str) -> Option<StateKind> {
    let at = words.iter().position(|word| *word == name)?;
    serde_json::from_value((*words.get(at + 1)?).into()).ok()
}

fn number(words: &[&str], name: &str) -> Option<u64> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1)?.parse().ok()
}

fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint { algorithm: 1, digest: Hash16::of(name.as_bytes()) }
}
