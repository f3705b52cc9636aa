//! The safety properties, checked from nothing but commands, replies and whether a record changed.

use hapax_core::command::{Claim, Command, ForgetMode, Verb, Verdict};
use hapax_core::policy::{Mode, OnLapse};
use hapax_core::reply::{Granted, Replayed};
use hapax_core::{Address, Fingerprint, Outcome, Reply, Token};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Invariants {
    now: u64,
    watched: BTreeMap<Address, Watched>,
}

/// What an outside observer knows of one address.
#[derive(Default)]
struct Watched {
    highest: Token,
    /// The last grant.
    holder: Option<Holder>,
    kept: Option<Kept>,
}

struct Holder {
    token: Token,
    claim: Claim,
    deadline: u64,
    marked: bool,
    /// Completed, released, resolved or forgotten.
    ended: bool,
}

/// What an outcome that was acknowledged binds the store to.
struct Kept {
    outcome: Option<Outcome>,
    expires: u64,
    remembered_until: u64,
}

impl Invariants {
    pub(super) fn check(&mut self, command: &Command, reply: &Reply, changed: bool, now: u64) {
        assert!(now >= self.now, "S13: log time went back");
        self.now = now;
        self.check_secrets(command, reply);
        let watched = self.watched.entry(command.address.clone()).or_default();
        match (&command.verb, reply) {
            (Verb::Claim(claim), Reply::Granted(granted)) if !granted.token.is_none() => {
                watched.granted(claim, granted, now);
            }
            (Verb::Claim(claim), reply) => watched.refused(claim, reply, now),
            (Verb::Renew(renew), Reply::Renewed(renewed)) => {
                let holder = watched.live(renew.token, now);
                assert!(renewed.deadline.0 >= holder.deadline, "a renewal moved the deadline back");
                assert!(renewed.marked >= holder.marked, "a renewal took the mark back");
                (holder.deadline, holder.marked) = (renewed.deadline.0, renewed.marked);
            }
            (Verb::Complete(complete), Reply::Completed(completed)) => {
                let holder = watched.unended(complete.token);
                assert_eq!(completed.late, now >= holder.deadline);
                watched.keep(Some(&complete.outcome), now, completed.expires_at.0);
            }
            (Verb::Release(release), Reply::Released) => {
                if changed {
                    watched.unended(release.token).ended = true;
                }
            }
            (Verb::Resolve(resolve), Reply::Resolved) => {
                if changed {
                    watched.resolved(resolve.token, &resolve.verdict, now);
                }
            }
            (Verb::Forget(forget), Reply::Forgotten) if changed => {
                watched.forgotten(forget.token, forget.mode, now);
            }
            _ => assert!(!changed, "S5: {reply:?} to {command:?} changed the record"),
        }
    }

    /// S6 and S7: whatever a claim is shown was kept for its own address and fingerprint; the
    /// verbs with a token are shown nothing at all.
    fn check_secrets(&self, command: &Command, reply: &Reply) {
        let bytes = bincode::encode_to_vec(reply, bincode::config::standard()).unwrap();
        let marker = b"secret:";
        for start in 0..bytes.len().saturating_sub(marker.len()) {
            if !bytes[start..].starts_with(marker) {
                continue;
            }
            let Verb::Claim(claim) = &command.verb else { panic!("a payload in {reply:?}") };
            let place = super::addresses().iter().position(|address| *address == command.address);
            let own = format!("secret:{}:{}", place.unwrap(), claim.fingerprint.digest[0]);
            assert!(bytes[start..].starts_with(own.as_bytes()), "S6, S7: {reply:?} to {command:?}");
        }
    }
}

impl Watched {
    fn granted(&mut self, claim: &Claim, granted: &Granted, now: u64) {
        if granted.recovered {
            let holder = self.live(granted.token, now);
            assert_eq!(granted.lease_left_ms, holder.deadline - now);
            assert_eq!(holder.claim.nonce, claim.nonce);
            assert_eq!(holder.claim.fingerprint, claim.fingerprint, "S6");
            return;
        }
        assert!(granted.token > self.highest, "S1: tokens increase for ever");
        if let Some(holder) = self.holder.as_ref().filter(|holder| !holder.ended) {
            assert!(now >= holder.deadline, "S1: two live tokens");
            assert!(!holder.in_doubt_after_lapse(), "S2: granted while in doubt");
        }
        if let Some(kept) = &self.kept {
            assert!(now >= kept.remembered_until, "S2: a second run");
        }
        if granted.attempt > 1 {
            let before = self.holder.as_ref().expect("a takeover has a predecessor");
            assert_eq!(before.claim.fingerprint, claim.fingerprint, "S6: another request took over");
        }
        assert!(granted.lease_left_ms <= claim.terms.max_hold_ms);
        self.highest = granted.token;
        self.kept = None;
        let deadline = now + granted.lease_left_ms;
        self.holder = Some(Holder {
            token: granted.token,
            claim: claim.clone(),
            deadline,
            marked: false,
            ended: false,
        });
    }

    /// S3 and S4: while an outcome is kept, an enforced claim with the fingerprint gets just that.
    fn refused(&mut self, claim: &Claim, reply: &Reply, now: u64) {
        let Some((kept, holder)) = self.kept.as_ref().zip(self.holder.as_ref()) else {
            assert!(!matches!(reply, Reply::Replayed(_) | Reply::Spent(_)), "{reply:?} out of nothing");
            return;
        };
        if let Reply::Replayed(replayed) = reply {
            assert_eq!(claim.fingerprint, holder.claim.fingerprint, "S6");
            assert!(now < kept.expires);
            same_outcome(kept.outcome.as_ref().expect("S4: an outcome"), replayed);
        }
        let excused = matches!(reply, Reply::TooOld | Reply::Error(_)) || claim.terms.mode != Mode::Enforce;
        if kept.outcome.is_some() && now < kept.expires && !excused {
            let expected =
                if claim.fingerprint == holder.claim.fingerprint { "replayed" } else { "mismatch" };
            assert_eq!(reply.name(), expected, "S3: an acknowledged result was lost");
        }
        if now >= kept.expires && now < kept.remembered_until && !excused {
            let same = claim.fingerprint == holder.claim.fingerprint;
            assert_eq!(reply.name(), if same { "spent" } else { "mismatch" });
        }
    }

    fn resolved(&mut self, token: Token, verdict: &Verdict, now: u64) {
        let holder = self.unended(token);
        assert!(now >= holder.deadline && holder.in_doubt_after_lapse(), "resolved what was not in doubt");
        match verdict {
            Verdict::Release => holder.ended = true,
            Verdict::Complete(verdict) => self.keep(Some(&verdict.outcome), now, now + verdict.retention_ms),
        }
    }

    fn forgotten(&mut self, token: Token, mode: ForgetMode, now: u64) {
        assert_eq!(token, self.highest, "S5: a dead token forgot");
        match (mode, self.kept.as_mut()) {
            (ForgetMode::Reset, _) => self.kept = None,
            (ForgetMode::Erase, Some(kept)) => {
                kept.outcome = None;
                kept.expires = now;
            }
            (ForgetMode::Erase, None) => self.keep(None, now, now),
        }
        if let Some(holder) = &mut self.holder {
            holder.ended = true;
        }
    }

    fn keep(&mut self, outcome: Option<&Outcome>, now: u64, expires: u64) {
        let holder = self.holder.as_mut().expect("something was granted");
        holder.ended = true;
        let terms = &holder.claim.terms;
        let remembered_until = match outcome {
            Some(_) => expires + terms.memory_ms,
            None => now + terms.retention_success_ms + terms.memory_ms,
        };
        self.kept = Some(Kept { outcome: outcome.cloned(), expires, remembered_until });
    }

    /// The holder, which must be the one of this token, and must not have ended.
    fn unended(&mut self, token: Token) -> &mut Holder {
        let holder = self.holder.as_mut().expect("S5: something was granted");
        assert_eq!(holder.token, token, "S5: a superseded token had an effect");
        assert!(!holder.ended, "S5: a dead token had an effect");
        holder
    }

    /// As `unended`, and its lease must run.
    fn live(&mut self, token: Token, now: u64) -> &mut Holder {
        let holder = self.unended(token);
        assert!(now < holder.deadline, "S5: a lapsed token was renewed");
        holder
    }
}

impl Holder {
    fn in_doubt_after_lapse(&self) -> bool {
        match self.claim.terms.on_lapse {
            OnLapse::TakeoverUnlessMarked => self.marked,
            OnLapse::AlwaysInDoubt => true,
            OnLapse::AlwaysTakeover => false,
        }
    }
}

fn same_outcome(kept: &Outcome, replayed: &Replayed) {
    assert_eq!(kept.class, replayed.class, "S4");
    assert_eq!(kept.result, replayed.result, "S3: byte for byte");
    assert_eq!(kept.metadata, replayed.metadata, "S3: byte for byte");
}

/// The fingerprints of the plan differ; without that S6 would hold of nothing.
#[test]
fn the_plan_s_fingerprints_differ() {
    let [a, b]: [Fingerprint; 2] = [0, 1].map(crate::world::fingerprint);
    assert_ne!(a, b);
}
