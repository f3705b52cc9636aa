//! Wall clocks, for the quorum's median.

use super::body::body;
use crate::codec::fields;
use bincode::{Decode, Encode};

/// Asks for the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Clock;
body!(Clock, CLOCK);

/// The reply to a [`Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReply {
    /// The replying node's wall clock when it sent this, ms since 1970.
    pub wall_ms: u64,
}
fields!(ClockReply { wall_ms });
body!(ClockReply, CLOCK_REPLY);
