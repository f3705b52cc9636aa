//! From what a caller asks to what a leader proposes or reads.
//!
//! Here policy is looked up, bounds are checked and durations are clamped; what comes out is
//! complete in itself.

use crate::address::Address;
use crate::bytes::Blob;
use crate::command::{Claim, Command, Complete, FORMAT, Forget, Release, Renew, Resolve};
use crate::command::{Verb, Verdict, VerdictComplete};
use crate::error::{Invalid, Refusal};
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::outcome::{Outcome, OutcomeClass};
use crate::policy::{FingerprintRule, Mode, Policies, Policy};
use crate::quota::QuotaLimits;
use crate::reply::Reply;
use crate::request::{Ask, ClaimAsk, CompleteAsk, ListAsk, RenewAsk, Request, ResolveAsk};
use crate::text::Principal;
use crate::verbs::claim::shadow;

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A verb that may change its record: answered by a read where that is allowed, else proposed.
    Command {
        /// What to propose.
        command: Command,
        /// How long a claim may be held while somebody else runs, ms; 0 for other verbs.
        wait_ms: u64,
        /// The quotas that a grant is checked against.
        quota: QuotaLimits,
    },
    /// A read of one record.
    Get {
        /// The record.
        address: Address,
        /// Opens the record's detail when it is the same.
        fingerprint: Option<Fingerprint>,
        /// How long the call may be held while somebody runs, ms.
        wait_ms: u64,
        /// A follower may answer a completed record from its own state, labelled stale.
        stale: bool,
        /// Whether the caller has the reader role: everyone, while no authentication is set.
        is_reader: bool,
    },
    /// A read of a range of one shard; the limit is at least 1 and at most 1000.
    List(ListAsk),
    /// Answered already: a shadow of a refusal that needs no record.
    Answer(Reply),
}

/// Resolves a request of `principal` under the policies in force.
///
/// # Errors
/// A definite [`Refusal`]: `invalid` or `too_large`, naming the field.
pub fn resolve_request(
    request: &Request,
    principal: &Principal,
    policies: &Policies,
) -> Result<Resolved, Refusal> {
    let policy = |address: &Address| policies.resolve(address.tenant(), address.operation());
    let verb = match &request.ask {
        Ask::Claim(ask) => {
            let policy = policy(&ask.address);
            match fingerprint_of(ask, policy) {
                Ok(fingerprint) => Verb::Claim(claim(ask, fingerprint, policy)),
                Err(invalid) if policy.mode == Mode::Observe => {
                    let claim = claim(ask, Fingerprint::EMPTY, policy);
                    return Ok(Resolved::Answer(shadow(&claim, Some(Reply::Error(invalid.into())))));
                }
                Err(invalid) => return Err(invalid.into()),
            }
        }
        Ask::Renew(ask) => Verb::Renew(renew(ask, policy(&ask.address))?),
        Ask::Complete(ask) => Verb::Complete(complete(ask, policy(&ask.address))?),
        Ask::Release(ask) => Verb::Release(Release { token: ask.token, reason: ask.reason.clone() }),
        Ask::Resolve(ask) => Verb::Resolve(resolve(ask, policy(&ask.address))?),
        Ask::Forget(ask) => {
            let (token, mode, force) = (ask.token, ask.mode, ask.force);
            Verb::Forget(Forget { token, mode, force, reason: ask.reason.clone() })
        }
        Ask::Get(ask) => {
            return Ok(Resolved::Get {
                address: ask.address.clone(),
                fingerprint: ask.fingerprint,
                wait_ms: ask.wait_ms.min(limits::WAIT_MS),
                stale: ask.stale,
                is_reader: principal.is_empty(),
            });
        }
        Ask::List(ask) => return Ok(Resolved::List(list(ask)?)),
    };
    let address = request.ask.address().ok_or(Invalid::new("address", "missing"))?.clone();
    let (wait_ms, quota) = match &request.ask {
        Ask::Claim(ask) => (ask.wait_ms.min(limits::WAIT_MS), QuotaLimits::of(policy(&address))),
        _ => (0, QuotaLimits::default()),
    };
    let (principal, not_after) = (principal.clone(), request.not_after);
    let command = Command { format: FORMAT, principal, not_after, address, verb };
    Ok(Resolved::Command { command, wait_ms, quota })
}

/// The fingerprint to compare, where policy is content with what came. (Under `off` nothing is
/// compared.)
fn fingerprint_of(ask: &ClaimAsk, policy: &Policy) -> Result<Fingerprint, Invalid> {
    match (ask.fingerprint, policy.fingerprint) {
        (Some(fingerprint), _) => Ok(fingerprint),
        (None, FingerprintRule::Optional) => Ok(Fingerprint::EMPTY),
        (None, FingerprintRule::Required) if policy.mode == Mode::Off => Ok(Fingerprint::EMPTY),
        (None, FingerprintRule::Required) => Err(Invalid::new("fingerprint", "missing")),
    }
}

fn claim(ask: &ClaimAsk, fingerprint: Fingerprint, policy: &Policy) -> Claim {
    Claim {
        fingerprint,
        fields: ask.fields.clone(),
        nonce: ask.nonce,
        lease_ms: policy.clamp_lease(ask.lease_ms),
        first_sent: ask.first_sent,
        label: ask.label.clone(),
        trace: ask.trace.clone(),
        value: ask.value,
        name_fields: policy.name_fields,
        terms: policy.terms(),
    }
}

fn renew(ask: &RenewAsk, policy: &Policy) -> Result<Renew, Refusal> {
    if ask.checkpoint.as_ref().map_or(0, Blob::len) > limits::CHECKPOINT_BYTES {
        return Err(Refusal::too_large("checkpoint", limits::CHECKPOINT_BYTES as u64));
    }
    if ask.seq == 0 && (ask.mark || ask.checkpoint.is_some()) {
        return Err(Invalid::new("seq", "0 can carry neither checkpoint nor mark").into());
    }
    Ok(Renew {
        token: ask.token,
        seq: ask.seq,
        lease_ms: policy.clamp_lease(ask.lease_ms),
        checkpoint: ask.checkpoint.clone(),
        mark: ask.mark,
    })
}

fn complete(ask: &CompleteAsk, policy: &Policy) -> Result<Complete, Refusal> {
    check_outcome(&ask.outcome, policy)?;
    Ok(Complete {
        token: ask.token,
        outcome: ask.outcome.clone(),
        retention_ms: policy.clamp_retention(ask.outcome.class, ask.retention_ms),
    })
}

fn resolve(ask: &ResolveAsk, policy: &Policy) -> Result<Resolve, Refusal> {
    let verdict = match &ask.outcome {
        None => Verdict::Release,
        Some(outcome) => {
            check_outcome(outcome, policy)?;
            let retention_ms = policy.clamp_retention(outcome.class, ask.retention_ms);
            Verdict::Complete(VerdictComplete { outcome: outcome.clone(), retention_ms })
        }
    };
    Ok(Resolve { token: ask.token, verdict, reason: ask.reason.clone() })
}

fn list(ask: &ListAsk) -> Result<ListAsk, Refusal> {
    let inside = |after: &Address| {
        after.tenant() == ask.tenant.as_str()
            && ask.operation.as_ref().is_none_or(|operation| after.operation() == operation.as_str())
    };
    if !ask.after.as_ref().is_none_or(inside) {
        return Err(Invalid::new("after", "outside of what is listed").into());
    }
    Ok(ListAsk { limit: ask.limit.clamp(1, limits::LIST_ROWS), ..ask.clone() })
}

fn check_outcome(outcome: &Outcome, policy: &Policy) -> Result<(), Refusal> {
    if outcome.result.len() as u64 > policy.max_result_bytes {
        return Err(Refusal::too_large("result", policy.max_result_bytes));
    }
    if outcome.metadata.size_bytes() > limits::METADATA_BYTES {
        return Err(Refusal::too_large("metadata", limits::METADATA_BYTES as u64));
    }
    Ok(())
}

impl Policy {
    fn clamp_lease(&self, asked_ms: Option<u64>) -> u64 {
        asked_ms.unwrap_or(self.lease_ms).max(self.lease_min_ms).min(self.lease_max_ms)
    }

    fn clamp_retention(&self, class: OutcomeClass, asked_ms: Option<u64>) -> u64 {
        let usual_ms = match class {
            OutcomeClass::Success => self.retention_success_ms,
            OutcomeClass::Rejected => self.retention_rejected_ms,
            OutcomeClass::Error => self.retention_error_ms,
        };
        asked_ms.unwrap_or(usual_ms).max(self.retention_min_ms).min(self.retention_max_ms)
    }
}
