//! What the load was told, and whether it can all be true.
//!
//! Contract: it judges by the order of the simulation alone (which is exact, since everything runs
//! on one thread) and by the promises of the protocol, for addresses whose retention outlasts the
//! run: tokens only rise; nothing is granted once a completion was acknowledged; every replay
//! carries the acknowledged result, byte for byte, and all replays the same one; a superseded token
//! completes nothing; what was refused as definite never shows.

use hapax_core::{Blob, Token};
use std::collections::{BTreeMap, BTreeSet};

/// A moment: the number of events before it.
pub type Moment = u64;

#[derive(Debug, Default)]
struct Key {
    /// The highest token of an answered grant, and when it was answered.
    granted: Option<(u64, Moment)>,
    /// The result whose completion was acknowledged, and when first.
    acknowledged: Option<(Blob, Moment)>,
    /// The result that was replayed.
    replayed: Option<Blob>,
    /// Results that were sent, and not refused as definite.
    possible: BTreeSet<Vec<u8>>,
}

/// Everything that was told so far.
#[derive(Debug, Default)]
pub struct Oracle {
    now: Moment,
    keys: BTreeMap<String, Key>,
    /// What cannot be true.
    pub violations: Vec<String>,
    /// Acknowledged completions.
    pub acknowledged: u64,
    /// Answered calls.
    pub answered: u64,
    /// Calls that were refused as definite.
    pub refused: u64,
    /// Calls of which nobody knows.
    pub unknown: u64,
}

impl Oracle {
    /// A new moment, after all before it.
    pub fn moment(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    fn violated(&mut self, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(text);
        }
    }

    /// A claim sent at `sent` was granted.
    pub fn granted(&mut self, key: &str, token: Token, sent: Moment) {
        let now = self.moment();
        let token = token.as_u64();
        let known = self.keys.entry(key.to_owned()).or_default();
        let mut wrong = Vec::new();
        if let Some((last, at)) = known.granted
            && at < sent
            && token <= last
        {
            wrong.push(format!("S1 {key}: token {token} was granted after {last}"));
        }
        if let Some((_, at)) = known.acknowledged
            && at < sent
        {
            wrong.push(format!("S2 {key}: token {token} was granted after a completion was acknowledged"));
        }
        if known.granted.is_none_or(|(last, _)| last < token) {
            known.granted = Some((token, now));
        }
        wrong.into_iter().for_each(|text| self.violated(text));
    }

    /// A completion is about to be sent.
    pub fn completes(&mut self, key: &str, result: &Blob) -> Moment {
        let moment = self.moment();
        let known = self.keys.entry(key.to_owned()).or_default();
        known.possible.insert(result.as_slice().to_vec());
        moment
    }

    /// The completion sent at `sent` was acknowledged.
    pub fn completed(&mut self, key: &str, token: Token, result: &Blob, sent: Moment) {
        let now = self.moment();
        let token = token.as_u64();
        let known = self.keys.entry(key.to_owned()).or_default();
        let mut wrong = Vec::new();
        if let Some((last, at)) = known.granted
            && at < sent
            && token < last
        {
            wrong.push(format!("S5 {key}: the superseded token {token} completed after {last} was granted"));
        }
        match &known.acknowledged {
            Some((other, _)) if other != result => {
                wrong.push(format!("S4 {key}: two different completions were acknowledged"));
            }
            Some(_) => {}
            None => {
                known.acknowledged = Some((result.clone(), now));
                self.acknowledged += 1;
            }
        }
        wrong.into_iter().for_each(|text| self.violated(text));
    }

    /// The completion had no effect and will have none.
    pub fn not_completed(&mut self, key: &str, result: &Blob) {
        let known = self.keys.entry(key.to_owned()).or_default();
        known.possible.remove(result.as_slice());
        if known.replayed.as_ref() == Some(result) {
            self.violated(format!("S10 {key}: a refused completion was replayed"));
        }
    }

    /// A claim was answered with a result.
    pub fn replayed(&mut self, key: &str, result: &Blob) {
        let known = self.keys.entry(key.to_owned()).or_default();
        let mut wrong = Vec::new();
        if let Some((acknowledged, _)) = &known.acknowledged
            && acknowledged != result
        {
            wrong.push(format!("S3 {key}: another result than the acknowledged one was replayed"));
        }
        if known.replayed.as_ref().is_some_and(|before| before != result) {
            wrong.push(format!("S4 {key}: two different results were replayed"));
        }
        if !known.possible.contains(result.as_slice()) {
            wrong
                .push(format!("S10 {key}: a result was replayed that nobody completed, or that was refused"));
        }
        known.replayed = Some(result.clone());
        wrong.into_iter().for_each(|text| self.violated(text));
    }

    /// A claim found a record that must have been there, gone.
    pub fn forgotten(&mut self, key: &str, what: &str) {
        self.violated(format!("S3 {key}: acknowledged, and answered {what}"));
    }

    /// Every key with an acknowledged completion.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let kept = self.keys.iter().filter(|(_, known)| known.acknowledged.is_some());
        kept.map(|(key, _)| key.clone()).collect()
    }
}
