//! What a run says while it goes on: what it begins, a line every few seconds, and every fault that was not
//! proved, as soon as that is known.

use super::kind::Kind;
use super::report::Done;
use crate::workload::Recorder;
use crate::write_note;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// The state of a run; the lines end when it is dropped.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    planned: usize,
    recorder: Arc<Recorder>,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    under_way: Vec<(Kind, Instant)>,
    proved: usize,
    not_proved: usize,
}

impl Progress {
    /// Begins to tell of a run of so many planned faults.
    #[must_use]
    pub fn start(planned: usize, recorder: Arc<Recorder>) -> Arc<Self> {
        let progress = Arc::new(Self { began: Instant::now(), planned, recorder, faults: Mutex::default() });
        tokio::spawn(tell(Arc::downgrade(&progress)));
        progress
    }

    /// The run begins something else.
    pub fn begins(&self, what: &str) {
        self.say(what);
    }

    /// A fault begins.
    pub fn fault_begins(&self, kind: Kind) {
        self.faults.lock().under_way.push((kind, Instant::now()));
    }

    /// A fault is over.
    pub fn fault_ends(&self, done: &Done) {
        let (kind, mut faults) = (done.planned.kind, self.faults.lock());
        if let Some(place) = faults.under_way.iter().position(|(begun, _)| *begun == kind) {
            faults.under_way.remove(place);
        }
        let Err(why) = &done.proof else {
            faults.proved += 1;
            return;
        };
        faults.not_proved += 1;
        drop(faults);
        self.say(&format!("{} was NOT PROVED: {why}", kind.name()));
    }

    fn say(&self, what: &str) {
        write_note(&format!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64()));
    }

    fn line(&self) -> String {
        let faults = self.faults.lock();
        let name =
            |(kind, since): &(Kind, Instant)| format!("{} {} s", kind.name(), since.elapsed().as_secs());
        let under_way: Vec<String> = faults.under_way.iter().map(name).collect();
        format!(
            "{} operations; of {} faults {} proved, {} not; under way: {}",
            self.recorder.tally().operations(),
            self.planned,
            faults.proved,
            faults.not_proved,
            if under_way.is_empty() { "none".to_owned() } else { under_way.join(", ") }
        )
    }
}

async fn tell(progress: Weak<Progress>) {
    loop {
        sleep(EVERY).await;
        let Some(progress) = progress.upgrade() else { return };
        progress.say(&progress.line());
    }
}
