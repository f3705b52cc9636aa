//! Claims that are kept in flight on the node that leads.

use crate::cluster::Cluster;
use anyhow::{Context as _, Result, bail, ensure};
use hapax_bench::micro::commands::{address, fingerprint, nonce};
use hapax_core::request::ClaimAsk;
use hapax_core::{Answer, Ask, Fields, Principal, Reply, Request, Token};
use hapax_raft::call::{Call, Caller, ReplySink};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a caller waits, ms: nothing here may come near it.
const DEADLINE_MS: u32 = 30_000;
/// No answer for so long is an error.
const PATIENCE: Duration = Duration::from_secs(60);

type Answers = Vec<(u64, Answer)>;

struct Sink(Sender<Answers>);

impl ReplySink for Sink {
    fn deliver(&self, answers: Answers) {
        // Whoever claims waits for all answers before it goes.
        let _gone = self.0.send(answers);
    }
}

/// A connection to the leader, and how many claims it keeps in flight.
pub(crate) struct Claims {
    cluster: Cluster,
    caller: Arc<Caller>,
    answers: Receiver<Answers>,
    at_once: usize,
    /// The number of the last call, and of its key.
    last: u64,
    tokens: HashSet<Token>,
}

impl Claims {
    /// On a new cluster of so many nodes.
    pub(crate) fn open(replicas: usize, at_once: usize) -> Result<Self> {
        let (sender, answers) = channel();
        let caller = Caller::new(Principal::default(), Box::new(Sink(sender)));
        let cluster = Cluster::form(replicas)?;
        Ok(Self { cluster, caller, answers, at_once, last: 0, tokens: HashSet::new() })
    }

    /// Makes so many times the claims that are in flight, and says how long that took.
    pub(crate) fn run(&mut self, rounds: u64) -> Result<Duration> {
        let claims = usize::try_from(rounds)? * self.at_once;
        let first = self.last + 1;
        let mut answered = Vec::with_capacity(claims);
        let begun = Instant::now();
        self.submit(self.at_once);
        let mut left = claims - self.at_once;
        while answered.len() < claims {
            let answers = self.answers.recv_timeout(PATIENCE).context("an answer is missing")?;
            let next = answers.len().min(left);
            answered.extend(answers);
            if next > 0 {
                self.submit(next);
                left -= next;
            }
        }
        let took = begun.elapsed();
        self.check(first, answered)?;
        Ok(took)
    }

    /// Sends the next claims, each in a frame of its own.
    fn submit(&mut self, claims: usize) {
        for _ in 0..claims {
            self.last += 1;
            self.send(self.last, self.last);
        }
    }

    /// Claims the `n`th key as call `id`.
    fn send(&self, n: u64, id: u64) {
        let call = Call { id, deadline_ms: DEADLINE_MS, frame: id, request: claim(n, id) };
        self.cluster.submit(vec![call], &self.caller);
    }

    /// Each call has one answer, which grants its claim under a token of its own.
    fn check(&mut self, first: u64, mut answered: Answers) -> Result<()> {
        answered.sort_unstable_by_key(|(id, _)| *id);
        ensure!(answered.iter().map(|(id, _)| *id).eq(first..=self.last), "calls are not answered once each");
        for (id, answer) in answered {
            let Reply::Granted(granted) = answer.reply else {
                bail!("claim {id} was answered {:?}", answer.reply)
            };
            ensure!(self.tokens.insert(granted.token), "token {} was given twice", granted.token);
        }
        Ok(())
    }

    /// Claims the last key once more, which must be told that it runs, and ends the cluster; says how many commands
    /// an entry had on average.
    pub(crate) fn finish(self) -> Result<f64> {
        self.send(self.last, self.last + 1);
        let answers = self.answers.recv_timeout(PATIENCE).context("an answer is missing")?;
        let is_running = matches!(&answers[..], [(_, Answer { reply: Reply::InFlight(_), .. })]);
        ensure!(is_running, "the last key does not run: {answers:?}");
        let commands = self.cluster.commands_per_entry();
        self.cluster.stop()?;
        Ok(commands)
    }
}

/// A claim of the `n`th key by the `call`th logical call, as a caller asks for it.
fn claim(n: u64, call: u64) -> Request {
    let ask = ClaimAsk {
        address: address(n),
        fingerprint: Some(fingerprint()),
        fields: Fields::default(),
        nonce: nonce(call),
        lease_ms: None,
        wait_ms: 0,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
    };
    Request { not_after: None, ask: Ask::Claim(ask) }
}
