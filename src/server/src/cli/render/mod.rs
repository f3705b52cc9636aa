//! What the user sees: one JSON object, or text.

mod human;
mod json;
#[cfg(test)]
mod tests;
mod time;

use human::{answer as human_answer, error as human_error, rows as human_rows};
pub(super) use json::text as json_text;
use json::{answer as json_answer, error as json_error, page as json_page};
pub(super) use time::{span, utc};

use hapax_core::view::Row;
use hapax_core::{Answer, ErrorCode};
use std::io::{self, Write};

/// An error as it is shown, whichever side found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    /// What kind.
    pub(super) code: ErrorCode,
    /// Whether it certainly had no effect.
    pub(super) definite: bool,
    /// For people.
    pub(super) text: &'a str,
    /// The field at fault.
    pub(super) field: Option<&'a str>,
}

/// Where output goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// One JSON object instead of text.
    pub(super) json: bool,
}

impl Screen {
    /// Writes to standard output; a reader that has gone away is no error.
    pub(super) fn out(self, text: &[u8]) -> io::Result<()> {
        quiet(io::stdout().lock(), text)
    }

    /// Writes to standard error.
    pub(super) fn err(self, text: &str) -> io::Result<()> {
        quiet(io::stderr().lock(), text.as_bytes())
    }

    /// Shows an answer; `then` is what a person may want to do next.
    pub(super) fn answer(self, answer: &Answer, then: Option<&str>) -> io::Result<()> {
        if self.json {
            return self.json(&json_answer(answer));
        }
        self.out(&human_answer(answer))?;
        match then {
            Some(then) => self.err(&format!("\nnext: {then}\n")),
            None => Ok(()),
        }
    }

    /// Shows an error: JSON to standard output, where a script reads it, text to standard error.
    pub(super) fn error(self, error: &Shown<'_>) -> io::Result<()> {
        if self.json { self.json(&json_error(error)) } else { self.err(&human_error(error)) }
    }

    /// Shows records; `failed` are the shards whose records are missing.
    pub(super) fn rows(self, rows: &[Row], more: bool, failed: &[u32]) -> io::Result<()> {
        if self.json {
            return self.json(&json_page(rows, more, failed));
        }
        self.out(human_rows(rows, more).as_bytes())
    }

    /// Writes one JSON object and a line end.
    pub(super) fn json(self, value: &serde_json::Value) -> io::Result<()> {
        self.out(format!("{value}\n").as_bytes())
    }
}

fn quiet(mut out: impl Write, text: &[u8]) -> io::Result<()> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
