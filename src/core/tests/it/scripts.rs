//! Runs the told scripts of `tests/scripts`: each shows one property and says in its first line
//! which. `UPDATE_GOLDENFILES=1` writes the answers anew, to be read before they are kept.
//!
//! A script's log time starts at 0. Times and durations are written `250ms`, `30s`, `1h30m`,
//! `7d`; tokens are called `t1`, `t2`, … in the order in which they were granted, and `t0` is no
//! token. Every command is an entry of its own.

use crate::tell;
use crate::world::{Map, address_of, fingerprint, nonce, outcome};
use goldenscript::{ArgumentConsumer, Context, Runner};
use hapax_core::command::{
    Batch, Claim, Command, Complete, FORMAT, Forget, ForgetMode, Release, Renew, Resolve, Verb, Verdict,
    VerdictComplete,
};
use hapax_core::policy::{Mode, OnLapse};
use hapax_core::{
    Blob, Label, LogTime, Outcome, OutcomeClass, Policy, Principal, ReadAt, Reason, Reply, ShardState, Token,
    Trace, apply_batch, read_get, read_verb,
};
use std::error::Error;

type Failure = Box<dyn Error>;

struct Script {
    state: ShardState,
    records: Map,
    now: u64,
    policy: Policy,
    tokens: Vec<Token>,
    last: Option<Command>,
}

impl Script {
    fn new() -> Self {
        Self {
            state: ShardState::new(0, 0),
            records: Map::default(),
            now: 0,
            policy: Policy::default(),
            tokens: Vec::new(),
            last: None,
        }
    }

    fn token(&self, name: &str) -> Result<Token, Failure> {
        let number: usize = name.strip_prefix('t').ok_or("a token is called t1, t2, …")?.parse()?;
        match number {
            0 => Ok(Token::NONE),
            n => self.tokens.get(n - 1).copied().ok_or_else(|| format!("{name} was not granted").into()),
        }
    }

    fn apply(&mut self, command: Command) -> Result<String, Failure> {
        self.last = Some(command.clone());
        let batch = Batch { time: LogTime(self.now), commands: vec![command] };
        let index = self.state.index + 1;
        let replies = apply_batch(&mut self.state, &batch, index, &mut self.records)?;
        if let Reply::Granted(granted) = &replies[0]
            && !granted.token.is_none()
            && !self.tokens.contains(&granted.token)
        {
            self.tokens.push(granted.token);
        }
        Ok(tell::reply(&replies[0], &self.tokens))
    }

    fn verb(&self, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<Verb, Failure> {
        Ok(match name {
            "claim" => Verb::Claim(self.claim(args)?),
            "renew" => {
                let token = self.token(args.next_pos().ok_or("whose?")?)?;
                Verb::Renew(Renew {
                    token,
                    seq: args.take_key("seq").ok_or("seq?")?.parse()?,
                    lease_ms: args.take_key("lease").map_or(Ok(self.policy.lease_ms), duration)?,
                    checkpoint: args.take_key("checkpoint").map(Blob::from),
                    mark: args.next_pos() == Some("mark"),
                })
            }
            "complete" => {
                let token = self.token(args.next_pos().ok_or("whose?")?)?;
                let outcome = outcome_of(args)?;
                let retention_ms = self.retention(&outcome, args)?;
                Verb::Complete(Complete { token, outcome, retention_ms })
            }
            "release" => {
                let token = self.token(args.next_pos().ok_or("whose?")?)?;
                Verb::Release(Release { token, reason: None })
            }
            "resolve" => {
                let token = self.token(args.next_pos().ok_or("whose?")?)?;
                let verdict = match args.next_pos() {
                    Some("release") => Verdict::Release,
                    Some("complete") => {
                        let outcome = outcome_of(args)?;
                        let retention_ms = self.retention(&outcome, args)?;
                        Verdict::Complete(VerdictComplete { outcome, retention_ms })
                    }
                    _ => return Err("complete or release?".into()),
                };
                let reason = Reason::new(args.take_key("reason").unwrap_or(""))?;
                Verb::Resolve(Resolve { token, verdict, reason })
            }
            "forget" => {
                let token = self.token(args.next_pos().ok_or("whose?")?)?;
                let mode = match args.next_pos() {
                    Some("erase") => ForgetMode::Erase,
                    Some("reset") => ForgetMode::Reset,
                    _ => return Err("erase or reset?".into()),
                };
                let force = args.next_pos() == Some("force");
                Verb::Forget(Forget { token, mode, force, reason: Reason::default() })
            }
            other => return Err(format!("no command {other}").into()),
        })
    }

    fn claim(&self, args: &mut ArgumentConsumer<'_>) -> Result<Claim, Failure> {
        let call = args.take_key("call").ok_or("call?")?;
        let named: Vec<(&str, u8)> = args
            .take_key("fields")
            .into_iter()
            .flat_map(|fields| fields.split(','))
            .map(|field| field.split_once(':').map_or((field, 0), |(name, of)| (name, letter(of))))
            .collect();
        Ok(Claim {
            fingerprint: fingerprint(letter(args.take_key("request").unwrap_or("x"))),
            fields: crate::world::fields(&named),
            nonce: nonce(letter(call)),
            lease_ms: args.take_key("lease").map_or(Ok(self.policy.lease_ms), duration)?,
            first_sent: args.take_key("first_sent").map(duration).transpose()?.map(LogTime),
            label: args.take_key("label").map(Label::new).transpose()?,
            trace: args.take_key("trace").map(Trace::new).transpose()?,
            value: None,
            name_fields: self.policy.name_fields,
            terms: self.policy.terms(),
        })
    }

    fn retention(&self, outcome: &Outcome, args: &mut ArgumentConsumer<'_>) -> Result<u64, Failure> {
        let usual = match outcome.class {
            OutcomeClass::Success => self.policy.retention_success_ms,
            OutcomeClass::Rejected => self.policy.retention_rejected_ms,
            OutcomeClass::Error => self.policy.retention_error_ms,
        };
        args.take_key("retention").map_or(Ok(usual), duration)
    }

    /// Sets policy fields for the claims to come.
    fn set_policy(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Failure> {
        while let Some((name, value)) = args.next_key() {
            let policy = &mut self.policy;
            match name {
                "lease" => policy.lease_ms = duration(value)?,
                "max_hold" => policy.max_hold_ms = duration(value)?,
                "retention" => policy.retention_success_ms = duration(value)?,
                "abandoned" => policy.abandoned_ms = duration(value)?,
                "memory" => policy.memory_ms = duration(value)?,
                "name_fields" => policy.name_fields = value.parse()?,
                "on_lapse" => {
                    policy.on_lapse = match value {
                        "takeover_unless_marked" => OnLapse::TakeoverUnlessMarked,
                        "always_in_doubt" => OnLapse::AlwaysInDoubt,
                        "always_takeover" => OnLapse::AlwaysTakeover,
                        _ => return Err("no such on_lapse".into()),
                    }
                }
                "mode" => {
                    policy.mode = match value {
                        "enforce" => Mode::Enforce,
                        "observe" => Mode::Observe,
                        "off" => Mode::Off,
                        _ => return Err("no such mode".into()),
                    }
                }
                _ => return Err(format!("no policy field {name}").into()),
            }
        }
        Ok(())
    }

    fn read(&self, command: Option<&Command>, stamp: u64, fingerprint_of: Option<&str>) -> String {
        let address = command.map_or_else(default_address, |command| command.address.clone());
        let found = self.records.0.get(&address).map(|record| &**record);
        let at = ReadAt { applied: self.state.time.max(LogTime(self.now)), stamp: LogTime(stamp) };
        let reply = match command {
            Some(command) => read_verb(found, command, at),
            None => {
                let asked = fingerprint_of.map(|of| fingerprint(letter(of)));
                read_get(found, asked.as_ref(), fingerprint_of.is_none(), at)
            }
        };
        reply.map_or_else(|| "must be proposed".to_owned(), |reply| tell::reply(&reply, &self.tokens))
    }
}

impl Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, line: &goldenscript::Command, _: &Context) -> Result<String, Failure> {
        let mut args = line.consume_args();
        let output = match line.name.as_str() {
            "at" => {
                let less = args.take_key("less").map_or(Ok(0), duration)?;
                self.now = duration(args.next_pos().ok_or("when?")?)? - less;
                String::new()
            }
            "policy" => {
                self.set_policy(&mut args)?;
                String::new()
            }
            "again" => self.apply(self.last.clone().ok_or("nothing was sent")?)?,
            "get" => {
                let fingerprint_of = args.take_key("request");
                let stamp = args.take_key("stamp").map_or(Ok(self.now), duration)?;
                self.read(None, stamp, fingerprint_of)
            }
            name => {
                let address = address_of(
                    args.take_key("tenant").unwrap_or("acme"),
                    args.take_key("operation").unwrap_or("pay"),
                    args.take_key("key").unwrap_or("order-1"),
                );
                let principal = Principal::new(args.take_key("by").unwrap_or(""))?;
                let not_after = args.take_key("not_after").map(duration).transpose()?.map(LogTime);
                let stamp = args.take_key("read_at").map(duration).transpose()?;
                let verb = self.verb(name, &mut args)?;
                let command = Command { format: FORMAT, principal, not_after, address, verb };
                match stamp {
                    Some(stamp) => self.read(Some(&command), stamp, None),
                    None => self.apply(command)?,
                }
            }
        };
        args.reject_next()?;
        Ok(output)
    }
}

fn default_address() -> hapax_core::Address {
    address_of("acme", "pay", "order-1")
}

fn outcome_of(args: &mut ArgumentConsumer<'_>) -> Result<Outcome, Failure> {
    let class = match args.next_pos() {
        Some("success") => OutcomeClass::Success,
        Some("rejected") => OutcomeClass::Rejected,
        Some("error") => OutcomeClass::Error,
        _ => return Err("success, rejected or error?".into()),
    };
    Ok(outcome(class, args.next_pos().ok_or("with what result?")?))
}

/// Requests, calls and field values are told apart by their first letter.
fn letter(name: &str) -> u8 {
    name.bytes().next().unwrap_or(1)
}

/// A sum of parts: `30s`, `1h30m`.
fn duration(text: &str) -> Result<u64, Failure> {
    let mut total = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_end =
            rest[digits_end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |i| digits_end + i);
        let (part, later) = rest.split_at(unit_end);
        rest = later;
        let digits = part.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &part[digits.len()..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            _ => return Err(format!("{text}: ms, s, m, h or d?").into()),
        };
        total += digits.parse::<u64>()? * unit;
    }
    Ok(total)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the scripts are files")]
fn every_script() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} scripts", paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} does not say what it shows", path.display());
        goldenscript::run(&mut Script::new(), &path).unwrap_or_else(|error| {
            panic!("{}: {error}", path.display());
        });
    }
}
