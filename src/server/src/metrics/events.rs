//! What the protocol met and prevented.

use crate::anomaly::Counts;
use hapax_core::prevented::Prevented;
use hapax_core::{Event, Money};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Every event, by its stable name.
const EVENTS: [&str; 14] = [
    "takeover",
    "takeover_marked",
    "grant_recovered",
    "duplicate_in_flight",
    "replay",
    "blocked_in_doubt",
    "mismatch",
    "fenced_complete",
    "fenced",
    "late_complete",
    "conflict",
    "conflict_with_resolve",
    "complete_after_resolve",
    "shadow",
];

/// Currencies that have a counter of their own.
const CURRENCIES: usize = 32;
/// The label of all others.
const OTHER: &str = "other";

/// What the protocol met and prevented.
pub struct Events {
    events: Vec<IntCounter>,
    prevented_runs: IntCounter,
    prevented_value: IntCounterVec,
    currencies: Mutex<Vec<[u8; 3]>>,
}

impl Events {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let events = IntCounterVec::new(
            Opts::new("hapax_events_total", "What the protocol met, counted by the shard's leader"),
            &["event"],
        )?;
        let prevented_runs = IntCounter::new(
            "hapax_prevented_runs_total",
            "Calls that were stopped from running an operation again, each counted once (estimate)",
        )?;
        let prevented_value = IntCounterVec::new(
            Opts::new(
                "hapax_prevented_value_minor_units_total",
                "Value at stake in prevented runs, in minor units of the currency (estimate)",
            ),
            &["currency"],
        )?;
        prevented_value.with_label_values(&[OTHER]);
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(prevented_runs.clone()))?;
        registry.register(Box::new(prevented_value.clone()))?;
        Ok(Self {
            events: EVENTS.iter().map(|event| events.with_label_values(&[event])).collect(),
            prevented_runs,
            prevented_value,
            currencies: Mutex::default(),
        })
    }

    /// Counts an event; `first` says whether what it prevented was not counted yet.
    pub fn happened(&self, event: &Event, first: bool) {
        let (at, prevented) = place(event);
        self.events[at].inc();
        if let Some(prevented) = prevented.filter(|_| first) {
            self.prevented(prevented);
        }
    }

    fn prevented(&self, prevented: &Prevented) {
        self.prevented_runs.inc();
        if let Some(value) = prevented.value {
            let label = self.currency(value);
            self.prevented_value.with_label_values(&[label.as_str()]).inc_by(value.minor_units());
        }
    }

    /// The currency's label: its own code for the first few, `other` for the rest, so that callers
    /// cannot make series without bound.
    fn currency(&self, value: Money) -> String {
        let mut currencies = self.currencies.lock();
        let code = value.currency().to_owned();
        if !currencies.iter().any(|known| known.as_slice() == code.as_bytes()) {
            match <[u8; 3]>::try_from(code.as_bytes()) {
                Ok(bytes) if currencies.len() < CURRENCIES => currencies.push(bytes),
                _ => return OTHER.to_owned(),
            }
        }
        code
    }

    /// The totals that the anomaly watch compares.
    pub(super) fn counts(&self, operations: u64) -> Counts {
        let count = |names: &[&str]| {
            let of = |name: &&str| {
                EVENTS.iter().position(|event| event == name).map_or(0, |at| self.events[at].get())
            };
            names.iter().map(of).sum()
        };
        Counts {
            operations,
            events: [
                count(&["mismatch"]),
                count(&["takeover", "takeover_marked"]),
                count(&["fenced", "fenced_complete"]),
            ],
        }
    }
}

/// Where an event is counted, and what it prevented.
fn place(event: &Event) -> (usize, Option<&Prevented>) {
    match event {
        Event::Takeover { prior_mark: false } => (0, None),
        Event::Takeover { prior_mark: true } => (1, None),
        Event::Recovered => (2, None),
        Event::DuplicateInFlight(prevented) => (3, Some(prevented)),
        Event::Replay(prevented) => (4, Some(prevented)),
        Event::BlockedInDoubt(prevented) => (5, Some(prevented)),
        Event::Mismatch => (6, None),
        Event::FencedComplete => (7, None),
        Event::Fenced => (8, None),
        Event::LateComplete => (9, None),
        Event::Conflict { resolved: false } => (10, None),
        Event::Conflict { resolved: true } => (11, None),
        Event::CompleteAfterResolve => (12, None),
        Event::Shadow => (13, None),
    }
}
