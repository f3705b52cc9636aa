//! The wire as its users see it: frozen bytes, round trips, and whatever else a socket may bring.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod frames;
mod golden;
mod hostile;
mod negotiation;
mod round_trip;
mod samples;
mod seeds;
mod strategies;
mod writing;
