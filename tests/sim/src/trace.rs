//! What happened, as one number: two runs of a seed must give the same one.
//!
//! Contract: the hash of this thread takes in every message that the network delivered, dropped or
//! held, with its ends, every fault, every reply, and, where `exact`, every byte delivered and every
//! event that the product logs. The subscriber is for the whole process and looks at the thread's
//! own state, since seeds run on threads of their own. It also notes the jumps of log time, which the
//! product logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use xxhash_rust::xxh3::Xxh3;

/// Where the product says that log time jumps, and how.
const LEAD: &str = "hapax_raft::group::lead";
const JUMPS: &str = "log time goes on after a cold start";

/// Hosts that are told apart: they are numbered from 1 as they were registered, which is the last part
/// of the address that the simulation gives them.
const HOSTS: usize = 16;

/// What became of the messages from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were swallowed or held.
    pub lost: u64,
}

/// The messages of one thread's network, by sender and receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways([[Way; HOSTS]; HOSTS]);

impl Ways {
    /// What became of those from the host registered as number `from` (from 0) to that of number `to`.
    #[must_use]
    pub fn way(&self, from: usize, to: usize) -> Way {
        self.0.get(from + 1).and_then(|ways| ways.get(to + 1)).copied().unwrap_or_default()
    }

    /// Messages that arrived anywhere.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.0.iter().flatten().map(|way| way.delivered).sum()
    }
}

/// Log time jumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jump {
    /// When, simulated ms.
    pub at_ms: u64,
    /// Of which shard.
    pub shard: u32,
    /// How far.
    pub by_ms: u64,
}

#[derive(Default)]
struct Thread {
    on: bool,
    exact: bool,
    jumps: Vec<Jump>,
    hash: Xxh3,
    ways: Ways,
    /// What each place in the code says, so that it is formatted once.
    kinds: BTreeMap<(&'static str, u32), Kind>,
    text: String,
    /// Where exact: each event by its hash, and how it begins.
    events: Vec<(u64, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delivered,
    Dropped,
    Held,
    Other,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// Begins this thread's trace anew.
pub fn begin(exact: bool) {
    THREAD.with(|thread| *thread.borrow_mut() = Thread { on: true, exact, ..Thread::default() });
}

/// Takes something into the trace.
pub fn note(text: &str) {
    THREAD.with(|thread| {
        let mut thread = thread.borrow_mut();
        thread.hash.update(text.as_bytes());
        if thread.exact {
            let event = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
            thread.events.push((event, text.to_owned()));
        }
    });
}

/// The trace so far.
#[must_use]
pub fn hash() -> u64 {
    THREAD.with(|thread| thread.borrow().hash.digest())
}

/// Every event of an exact trace.
#[must_use]
pub fn events() -> Vec<(u64, String)> {
    THREAD.with(|thread| std::mem::take(&mut thread.borrow_mut().events))
}

/// The network's counts so far.
#[must_use]
pub fn ways() -> Ways {
    THREAD.with(|thread| thread.borrow().ways)
}

/// The jumps of log time so far, in their order.
#[must_use]
pub fn jumps() -> Vec<Jump> {
    THREAD.with(|thread| thread.borrow().jumps.clone())
}

/// Looks at the events of the network, and of the product where asked.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The product's own events are looked at too.
    pub exact: bool,
}

/// Beside a subscriber that shows the events.
impl<S: Subscriber> tracing_subscriber::Layer<S> for Watch {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let target = event.metadata().target();
        if target.starts_with("turmoil") || target == LEAD {
            look(event);
        }
    }
}

fn look(event: &Event<'_>) {
    THREAD.with(|thread| {
        // An event in the middle of another one's formatting says nothing new.
        if let Ok(mut thread) = thread.try_borrow_mut()
            && thread.on
        {
            thread.take(event);
        }
    });
}

impl Subscriber for Watch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let product = target == LEAD || (self.exact && target.starts_with("hapax"));
        metadata.is_event() && (target.starts_with("turmoil") || product)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        look(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Thread {
    fn take(&mut self, event: &Event<'_>) {
        let metadata = event.metadata();
        if metadata.target() == LEAD {
            let mut jump = JumpFields::default();
            event.record(&mut jump);
            let at = turmoil::sim_elapsed().unwrap_or_default();
            let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            self.jumps.extend(jump.is_one.then_some(Jump { at_ms, ..jump.jump }));
        }
        let place = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        let kind = match self.kinds.get(&place) {
            Some(kind) => *kind,
            None => {
                let mut message = Message(String::new());
                event.record(&mut message);
                let kind = match message.0.as_str() {
                    "Delivered" => Kind::Delivered,
                    "Drop" => Kind::Dropped,
                    "Hold" => Kind::Held,
                    _ => Kind::Other,
                };
                self.kinds.insert(place, kind);
                kind
            }
        };
        if kind == Kind::Other && !self.exact {
            return;
        }
        self.text.clear();
        let mut fields = Fields { text: &mut self.text, exact: self.exact, ends: [0; 2] };
        event.record(&mut fields);
        let [from, to] = fields.ends;
        if let Some(way) = self.ways.0.get_mut(from).and_then(|ways| ways.get_mut(to)) {
            way.delivered += u64::from(kind == Kind::Delivered);
            way.lost += u64::from(matches!(kind, Kind::Dropped | Kind::Held));
        }
        if self.exact {
            let begins = self.text.chars().take(200).collect::<String>();
            let event = xxhash_rust::xxh3::xxh3_64(self.text.as_bytes());
            self.events.push((event, format!("{}:{} {begins}", place.0, place.1)));
        }
        self.hash.update(&place.1.to_le_bytes());
        self.hash.update(self.text.as_bytes());
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _written = write!(self.0, "{value:?}");
        }
    }
}

#[derive(Default)]
struct JumpFields {
    is_one: bool,
    jump: Jump,
}

impl Visit for JumpFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "shard" => self.jump.shard = u32::try_from(value).unwrap_or(u32::MAX),
            "by_ms" => self.jump.by_ms = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.is_one |= field.name() == "message" && format!("{value:?}") == JUMPS;
    }
}

struct Fields<'a> {
    text: &'a mut String,
    exact: bool,
    /// The numbers of sender and receiver.
    ends: [usize; 2],
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let end = match field.name() {
            "src" => Some(0),
            "dst" => Some(1),
            _ => None,
        };
        // The bytes are long in hexadecimal digits; the ends of a message are not.
        if self.exact || end.is_some() {
            let begin = self.text.len();
            let _written = write!(self.text, "{}={value:?};", field.name());
            if let Some(end) = end {
                self.ends[end] = host_number(self.text.get(begin..).unwrap_or_default());
            }
        }
    }
}

/// The last part of the host's address in `src=192.168.0.3:7411;`; 0 where it cannot be read.
fn host_number(text: &str) -> usize {
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    host.rsplit_once('.').and_then(|(_, last)| last.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_by_the_last_part_of_their_address() {
        assert_eq!(host_number("src=192.168.0.3:7411;"), 3);
        assert_eq!(host_number("dst=192.168.0.12:49152;"), 12);
        assert_eq!(host_number("dst=nothing;"), 0);
    }
}
