//! Records what was asked and answered, in memory or straight into a file.

mod header;
mod translate;

pub use header::policies;

use super::session::Heard;
use hapax_checker::history::{self as to, Fault, History, Name, Operation, Phase};
use hapax_core::{Address, Answer, Ask, Fingerprint, Reply, Request, StateKind};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Microseconds of the run's monotonic clock, one for all clients.
pub type ClockUs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Where operations go.
enum Kept {
    Memory(Box<History>),
    File(to::Writer<Box<dyn Write + Send>>),
}

/// The recorder of one run; shared by everything that calls.
pub struct Recorder {
    clock: ClockUs,
    /// Operations, and batches.
    next: [AtomicU64; 2],
    phase: Mutex<Phase>,
    kept: Mutex<Kept>,
    /// The first error of the file: a history that lacks something must not be taken for whole.
    failed: Mutex<Option<io::Error>>,
    tally: Mutex<Tally>,
    granted: Mutex<BTreeMap<Address, Fingerprint>>,
    unknown: Mutex<BTreeMap<Address, u32>>,
}

/// A call that was begun.
#[derive(Debug)]
pub struct Begun {
    id: u64,
    client: Name,
    node: u32,
    phase: Phase,
    invoke_us: u64,
    batch: Option<u64>,
}

/// How often each thing was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations by verb.
    pub verbs: BTreeMap<&'static str, u64>,
    /// Operations by reply kind; errors as `error:` and their code.
    pub replies: BTreeMap<String, u64>,
    /// Answers with a reply that is no error, by phase.
    pub successes: BTreeMap<&'static str, u64>,
    /// Gets by the state that they showed.
    pub states: BTreeMap<&'static str, u64>,
    /// Calls that never reached a socket: no operations.
    pub unsent: u64,
}

impl Tally {
    /// Operations in all.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.verbs.values().sum()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Keeps the history in memory.
    #[must_use]
    pub fn in_memory(header: to::Header, clock: ClockUs) -> Arc<Self> {
        Self::keep(Kept::Memory(Box::new(History::new(header))), clock)
    }

    /// Writes the history as it happens; `out` should be buffered.
    ///
    /// # Errors
    /// As `out` has them.
    pub fn to_file(header: &to::Header, out: Box<dyn Write + Send>, clock: ClockUs) -> io::Result<Arc<Self>> {
        Ok(Self::keep(Kept::File(to::Writer::new(out, header)?), clock))
    }

    fn keep(kept: Kept, clock: ClockUs) -> Arc<Self> {
        Arc::new(Self {
            clock,
            next: [AtomicU64::new(1), AtomicU64::new(1)],
            phase: Mutex::new(Phase::WarmUp),
            kept: Mutex::new(kept),
            failed: Mutex::default(),
            tally: Mutex::default(),
            granted: Mutex::default(),
            unknown: Mutex::default(),
        })
    }

    /// Now, on the run's clock.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        (self.clock)()
    }

    /// From now on calls belong to this phase.
    pub fn set_phase(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    /// Notes a fault, once what is to be said of it is known.
    pub fn fault(&self, fault: Fault) {
        match &mut *self.kept.lock() {
            Kept::Memory(history) => history.faults.push(fault),
            Kept::File(file) => self.note_failure(file.fault(&fault)),
        }
    }

    /// Notes a replica's log.
    pub fn log(&self, log: to::LogDump) {
        match &mut *self.kept.lock() {
            Kept::Memory(history) => history.logs.push(log),
            Kept::File(file) => self.note_failure(file.log(&log)),
        }
    }

    /// What was heard so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Every address that was ever granted or completed, in order, with the fingerprint of its latest grant
    /// where that was heard: all that may have an acknowledged outcome.
    #[must_use]
    pub fn granted(&self) -> Vec<(Address, Fingerprint)> {
        self.granted.lock().iter().map(|(address, print)| (address.clone(), *print)).collect()
    }

    /// How many calls on an address may have had an effect or not.
    #[must_use]
    pub fn unknown(&self, address: &Address) -> u32 {
        self.unknown.lock().get(address).copied().unwrap_or_default()
    }

    /// About to send so many calls, as one batch where there is more than one.
    #[must_use]
    pub fn begin(&self, client: &Name, node: usize, calls: usize) -> Vec<Begun> {
        let [operations, batches] = &self.next;
        let first = operations.fetch_add(calls as u64, Ordering::Relaxed);
        let batch = (calls > 1).then(|| batches.fetch_add(1, Ordering::Relaxed));
        let (phase, invoke_us) = (*self.phase.lock(), self.now_us());
        let node = u32::try_from(node).unwrap_or(u32::MAX);
        let begun = |id| Begun { id, client: client.clone(), node, phase, invoke_us, batch };
        (first..first + calls as u64).map(begun).collect()
    }

    /// What came of it. A call that was not sent is no operation.
    pub fn end(&self, begun: Begun, request: &Request, heard: &Heard) {
        let return_us = self.now_us();
        let answer = match heard {
            Heard::NotSent => {
                self.tally.lock().unsent += 1;
                return;
            }
            Heard::Lost => None,
            Heard::Answer(answer) => Some(answer),
        };
        let operation = Operation {
            id: begun.id,
            client: begun.client,
            node: Some(begun.node),
            phase: begun.phase,
            invoke_us: begun.invoke_us,
            return_us: answer.map(|_| return_us),
            batch: begun.batch,
            principal: Name::default(),
            not_after_ms: request.not_after.map(|time| time.0),
            call: translate::call(&request.ask),
            reply: answer.map_or(to::Reply::None, |answer| translate::reply(&answer.reply)),
            witness: answer.and_then(|answer| answer.witness.as_ref()).map(translate::witness),
        };
        self.count(&operation, answer.map(|answer| &**answer), &request.ask);
        match (&operation.reply, &request.ask) {
            (to::Reply::Granted(granted), Ask::Claim(ask)) if granted.token != 0 => {
                let fingerprint = ask.fingerprint.unwrap_or(Fingerprint::EMPTY);
                self.granted.lock().insert(ask.address.clone(), fingerprint);
            }
            // Its grant may have been lost on the way, and its token have been told as one in doubt.
            (to::Reply::Completed { .. }, Ask::Complete(ask)) => {
                self.granted.lock().entry(ask.address.clone()).or_insert(Fingerprint::EMPTY);
            }
            _ => {}
        }
        if operation.is_indefinite()
            && !matches!(request.ask, Ask::Get(_))
            && let Some(address) = request.ask.address()
        {
            *self.unknown.lock().entry(address.clone()).or_default() += 1;
        }
        match &mut *self.kept.lock() {
            Kept::Memory(history) => history.operations.push(operation),
            Kept::File(file) => self.note_failure(file.operation(&operation)),
        }
    }

    fn count(&self, operation: &Operation, answer: Option<&Answer>, ask: &Ask) {
        let mut tally = self.tally.lock();
        *tally.verbs.entry(ask.name()).or_default() += 1;
        let kind = match &operation.reply {
            to::Reply::Error { code, .. } => format!("error:{}", code.name()),
            reply => reply.kind().to_owned(),
        };
        *tally.replies.entry(kind).or_default() += 1;
        if operation.is_success() {
            *tally.successes.entry(operation.phase.name()).or_default() += 1;
        }
        if let Some(Reply::State(view)) = answer.map(|answer| &answer.reply) {
            let state: StateKind = view.state;
            *tally.states.entry(state.name()).or_default() += 1;
        }
    }

    fn note_failure(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failed.lock().get_or_insert(error);
        }
    }

    /// Ends the history. In memory it is handed over; a file is flushed.
    ///
    /// # Errors
    /// When the file could not take everything.
    pub fn finish(&self) -> io::Result<Option<History>> {
        if let Some(error) = self.failed.lock().take() {
            return Err(error);
        }
        let empty = Kept::Memory(Box::new(History::new(to::Header::new("", 0))));
        match std::mem::replace(&mut *self.kept.lock(), empty) {
            Kept::Memory(history) => Ok(Some(*history)),
            Kept::File(file) => file.end().map(|_| None),
        }
    }
}
