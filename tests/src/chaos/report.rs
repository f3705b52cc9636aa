//! What a run comes to: a row for each kind of fault, and everything that went wrong.

use super::kind::{Kind, Mix};
use super::plan::Planned;
use super::watch::Probe;
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// A fault that was done, or was to be.
#[derive(Debug)]
pub struct Done {
    /// As planned.
    pub planned: Planned,
    /// When it began and when it was over.
    pub span: (Instant, Instant),
    /// What proves it, or why nothing does.
    pub proof: Result<String, String>,
    /// How long after its end every shard had served again, whatever else was under way; none where one never did.
    pub served_after: Option<Duration>,
    /// Of that the time in which no fault was under way.
    pub alone_after: Option<Duration>,
}

/// A run.
#[derive(Debug, Default)]
pub struct Report {
    /// Every fault.
    pub done: Vec<Done>,
    /// Operations of the history, each of them checked.
    pub operations: u64,
    /// Of these, answered by their verb's own reply, not by an error or not at all.
    pub answered: u64,
    /// Reads of the final scan.
    pub read_back: u64,
    /// What the checker says.
    pub verdict: String,
    /// Replicas whose digests were compared.
    pub compared: usize,
    /// What went wrong; a run without is good, unless it is void.
    pub wrong: Vec<String>,
    /// Why faults of packets were left out; none where they were not, or nobody asked for them.
    pub unwired: Option<String>,
    /// Nothing went wrong, and nothing is proved: a fault had no effect that was seen, say. The verdict says why.
    pub is_void: bool,
}

impl Report {
    /// Finds out how long each fault was felt.
    pub fn measure(&mut self, probe: &Probe) {
        let spans: Vec<(Instant, Instant)> = self.done.iter().map(|done| done.span).collect();
        for done in &mut self.done {
            let ended = done.span.1;
            let served = probe.all_served_since(ended);
            done.served_after = served.map(|served| served - ended);
            done.alone_after = served.map(|served| quiet(&spans, ended, served));
        }
    }

    /// The table of the matrix.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "fault",
            "planned",
            "proved",
            "recovered",
            "worst time to serve again",
            "of it with no fault under way",
        ]);
        let mut rows: BTreeMap<Kind, Vec<&Done>> = BTreeMap::new();
        for done in &self.done {
            rows.entry(done.planned.kind).or_default().push(done);
        }
        for (kind, all) in rows {
            let proved = all.iter().filter(|done| done.proof.is_ok()).count();
            let seconds = |time: Option<Duration>| {
                time.map_or_else(String::new, |time| format!("{:.2} s", time.as_secs_f64()))
            };
            table.add_row([
                kind.name().to_owned(),
                all.len().to_string(),
                proved.to_string(),
                all.iter().filter(|done| done.served_after.is_some()).count().to_string(),
                seconds(all.iter().filter_map(|done| done.served_after).max()),
                seconds(all.iter().filter_map(|done| done.alone_after).max()),
            ]);
        }
        let left_out = Kind::ALL.iter().filter(|kind| self.unwired.is_some() && kind.mix() == Mix::Packets);
        for kind in left_out {
            table.add_row([kind.name(), "left out", "", "", "", ""]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// Everything, for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.table();
        let proved = self.done.iter().filter(|done| done.proof.is_ok()).count();
        let _infallible = write!(
            text,
            "\n{} faults, {proved} proved. {} operations checked, {} of them not refused and not lost, {} reads in \
             the final scan, {} replicas compared.\n{}",
            self.done.len(),
            self.operations,
            self.answered,
            self.read_back,
            self.compared,
            self.verdict
        );
        if let Some(why) = &self.unwired {
            let _infallible =
                writeln!(text, "Left out, since a run can have no network of its own here: {why}");
        }
        for wrong in &self.wrong {
            let _infallible = writeln!(text, "WRONG: {wrong}");
        }
        if self.is_void {
            text.push_str("VOID: the run proves nothing\n");
        }
        text
    }

    /// One line for each fault, as it was done.
    #[must_use]
    pub fn lines(&self, began: Instant) -> String {
        let mut text = String::new();
        for done in &self.done {
            let at = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
            let (name, proof) = (done.planned.kind.name(), done.proof.as_ref());
            let proof = proof.map_or_else(|why| format!("NOT PROVED: {why}"), Clone::clone);
            let (from, to) = (at(done.span.0), at(done.span.1));
            let _infallible = writeln!(text, "{from:8.2} to {to:8.2}  {name}  {proof}");
        }
        text
    }
}

/// The time between two moments in which no fault was under way.
fn quiet(spans: &[(Instant, Instant)], from: Instant, to: Instant) -> Duration {
    let mut covering: Vec<(Instant, Instant)> =
        spans.iter().filter(|(begin, end)| *begin < to && *end > from).copied().collect();
    covering.sort();
    let (mut at, mut quiet) = (from, Duration::ZERO);
    for (begin, end) in covering {
        quiet += begin.saturating_duration_since(at);
        at = at.max(end);
    }
    quiet + to.saturating_duration_since(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_under_other_faults_is_not_counted() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let spans = [(at(0), at(10)), (at(12), at(14)), (at(13), at(20)), (at(30), at(40))];
        assert_eq!(quiet(&spans, at(10), at(11)), Duration::from_secs(1));
        assert_eq!(quiet(&spans, at(10), at(21)), Duration::from_secs(3));
        assert_eq!(quiet(&spans, at(10), at(15)), Duration::from_secs(2));
        assert_eq!(quiet(&spans, at(50), at(55)), Duration::from_secs(5));
    }
}
