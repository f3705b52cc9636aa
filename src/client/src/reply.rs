//! What each verb may be answered, and the shell around it.

use crate::env::{self, Instant};
use hapax_core::reply::{
    CompletedReply, Ended, Granted, InDoubtReply, InFlight, Mismatch, Renewed, Replayed, SpentReply,
};
use hapax_core::{Answer, Reply, View, Witness};
use std::time::Duration;

/// The part of a lease in which its holder acts, in tenths: the rest covers clocks that run at
/// different rates.
const ACT_TENTHS: u32 = 9;

/// A reply, and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied<T> {
    /// What was said.
    pub reply: T,
    /// From where in which log.
    pub witness: Option<Witness>,
    /// Answered by this client's own cache.
    pub cached: bool,
    /// When the first copy of the call was sent, on this process's monotonic clock. A lease counts
    /// from here; see [`Replied::act_until`].
    pub sent: Instant,
}

/// Until when the holder of a lease may act, if it was asked for at `sent`.
pub(crate) fn act_until(sent: Instant, lease_left_ms: u64) -> Instant {
    env::after(sent, Duration::from_millis(lease_left_ms) / 10 * ACT_TENTHS)
}

impl Replied<ClaimReply> {
    /// For a grant: until when its holder may act without a renewal, counted from the **first**
    /// sending of the claim. After a long `wait` that may have passed already: renew first then.
    #[must_use]
    pub fn act_until(&self) -> Option<Instant> {
        match &self.reply {
            ClaimReply::Granted(granted) => Some(act_until(self.sent, granted.lease_left_ms)),
            _ => None,
        }
    }
}

impl Replied<RenewReply> {
    /// For a renewed lease: until when its holder may act, counted from the first sending of the
    /// renewal.
    #[must_use]
    pub fn act_until(&self) -> Option<Instant> {
        match &self.reply {
            RenewReply::Renewed(renewed) => Some(act_until(self.sent, renewed.lease_left_ms)),
            _ => None,
        }
    }
}

impl<T: Into<Reply>> Replied<T> {
    /// The answer in the form that all verbs share.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        Answer { reply: self.reply.into(), witness: self.witness }
    }
}

macro_rules! replies {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $variant:ident $(($inner:ty))? ),+ $(,)? }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant $(($inner))?, )+
        }

        impl From<$name> for Reply {
            fn from(reply: $name) -> Self {
                match reply {
                    $( replies!(@pattern $name $variant inner $(($inner))?)
                        => replies!(@pattern Reply $variant inner $(($inner))?), )+
                }
            }
        }

        impl TryFrom<Reply> for $name {
            type Error = Reply;

            fn try_from(reply: Reply) -> Result<Self, Reply> {
                match reply {
                    $( replies!(@pattern Reply $variant inner $(($inner))?)
                        => Ok(replies!(@pattern $name $variant inner $(($inner))?)), )+
                    other => Err(other),
                }
            }
        }
    )+};
    (@pattern $name:ident $variant:ident $inner:ident) => { $name::$variant };
    (@pattern $name:ident $variant:ident $inner:ident ($ty:ty)) => { $name::$variant($inner) };
}

replies! {
    /// What a claim is answered.
    ClaimReply {
        /// The caller may run.
        Granted(Granted),
        /// Somebody else runs, and the wait is over.
        InFlight(InFlight),
        /// This key was used for another request.
        Mismatch(Mismatch),
        /// This call's own claim is over; a new attempt takes a new nonce.
        Ended(Ended),
        /// It may have happened, and nobody may silently run it again.
        InDoubt(InDoubtReply),
        /// It ran; this is what it gave.
        Replayed(Replayed),
        /// It ran; the result is gone.
        Spent(SpentReply),
        /// First sent longer ago than anything is remembered.
        TooOld,
    }

    /// What a renewal is answered.
    RenewReply {
        /// The lease moved.
        Renewed(Renewed),
        /// The token is dead, or its lease lapsed.
        Fenced,
        /// The token is a shadow's.
        Ignored,
    }

    /// What a complete is answered.
    CompleteReply {
        /// The outcome is kept.
        Completed(CompletedReply),
        /// This very outcome is already kept.
        AlreadyCompleted,
        /// Another outcome is already kept.
        Conflict,
        /// The token is dead.
        Fenced,
        /// The token is a shadow's.
        Ignored,
    }

    /// What a release is answered.
    ReleaseReply {
        /// The claim is over.
        Released,
        /// The token is dead.
        Fenced,
        /// The token is a shadow's.
        Ignored,
    }

    /// What a resolve is answered.
    ResolveReply {
        /// Decided as asked.
        Resolved,
        /// There is nothing in doubt under that token.
        NotInDoubt,
        /// The token is not the record's.
        Fenced,
        /// The token is a shadow's.
        Ignored,
    }

    /// What a forget is answered.
    ForgetReply {
        /// Dropped, or nothing was there.
        Forgotten,
        /// The record has moved on, or is running.
        Changed,
        /// The token is a shadow's.
        Ignored,
    }

    /// What a get is answered.
    GetReply {
        /// What is there.
        State(Box<View>),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_acts_for_nine_tenths_of_its_lease_from_the_first_sending() {
        let sent = Instant::now();
        assert_eq!(act_until(sent, 30_000), sent + Duration::from_secs(27));
        assert_eq!(act_until(sent, 0), sent);
        assert!(act_until(sent, u64::MAX) > sent + Duration::from_secs(900_000_000), "no overflow");
    }

    #[test]
    fn a_reply_of_another_verb_is_handed_back() {
        assert_eq!(RenewReply::try_from(Reply::Fenced), Ok(RenewReply::Fenced));
        assert_eq!(RenewReply::try_from(Reply::Released), Err(Reply::Released));
        assert_eq!(Reply::from(ClaimReply::TooOld), Reply::TooOld);
    }
}
