//! What happened, as one number: two runs of a seed must give the same one.
//!
//! Contract: the hash of this thread takes in every message that the network delivered, dropped or
//! held, with its ends, every fault, every reply, and, where `exact`, every byte delivered and every
//! event that the product logs. The subscriber is for the whole process and looks at the thread's
//! own state, since seeds run on threads of their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use xxhash_rust::xxh3::Xxh3;

/// Counts of one thread's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that a partition swallowed.
    pub dropped: u64,
    /// Messages that are, or were, held.
    pub held: u64,
}

#[derive(Default)]
struct Thread {
    on: bool,
    exact: bool,
    hash: Xxh3,
    network: Network,
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
pub fn network() -> Network {
    THREAD.with(|thread| thread.borrow().network)
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
        if event.metadata().target().starts_with("turmoil") {
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
        metadata.is_event() && (target.starts_with("turmoil") || (self.exact && target.starts_with("hapax")))
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
        match kind {
            Kind::Delivered => self.network.delivered += 1,
            Kind::Dropped => self.network.dropped += 1,
            Kind::Held => self.network.held += 1,
            Kind::Other if !self.exact => return,
            Kind::Other => {}
        }
        self.text.clear();
        let mut fields = Fields { text: &mut self.text, exact: self.exact };
        event.record(&mut fields);
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

struct Fields<'a> {
    text: &'a mut String,
    exact: bool,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // The bytes are long in hexadecimal digits; the ends of a message are not.
        if self.exact || matches!(field.name(), "src" | "dst") {
            let _written = write!(self.text, "{}={value:?};", field.name());
        }
    }
}
