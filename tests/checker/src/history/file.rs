//! Writing and reading histories, one line at a time.

use super::{Call, Fault, Header, History, LogDump, Name, Operation, Payload, Reply};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::{self, BufRead, Write};

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Header(Box<Header>),
    /// One operation.
    Op(Box<Operation>),
    /// One fault.
    Fault(Box<Fault>),
    /// One replica's log of one shard.
    Log(LogDump),
    /// The last.
    End(End),
}

/// The last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many operations there were.
    pub operations: u64,
}

/// Writes a history as it happens.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    operations: u64,
}

/// What is written, by reference.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineRef<'a> {
    Header(&'a Header),
    Op(&'a Operation),
    Fault(&'a Fault),
    Log(&'a LogDump),
    End(End),
}

impl<W: Write> Writer<W> {
    /// Begins a history. `out` should be buffered.
    ///
    /// # Errors
    /// As `out` has them; here and below.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, operations: 0 };
        writer.line(&LineRef::Header(header))?;
        Ok(writer)
    }

    /// Adds an operation.
    ///
    /// # Errors
    /// As `out` has them.
    pub fn operation(&mut self, operation: &Operation) -> io::Result<()> {
        self.operations += 1;
        self.line(&LineRef::Op(operation))
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// As `out` has them.
    pub fn fault(&mut self, fault: &Fault) -> io::Result<()> {
        self.line(&LineRef::Fault(fault))
    }

    /// Adds a log.
    ///
    /// # Errors
    /// As `out` has them.
    pub fn log(&mut self, log: &LogDump) -> io::Result<()> {
        self.line(&LineRef::Log(log))
    }

    /// Ends the history and hands back what it was written to, flushed.
    ///
    /// # Errors
    /// As `out` has them.
    pub fn end(mut self) -> io::Result<W> {
        let operations = self.operations;
        self.line(&LineRef::End(End { operations }))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, line: &LineRef<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// A line is none of the format.
    #[error("line {line}: {source}")]
    Syntax {
        /// Which, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The lines are not in order.
    #[error("line {line}: {why}")]
    Order {
        /// Which, from 1; one past the last for what is missing.
        line: u64,
        /// What is wrong.
        why: &'static str,
    },
}

/// Reads a history line by line, sharing the names that recur.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    buffer: Vec<u8>,
    line: u64,
    names: Names,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`.
    #[must_use]
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), line: 0, names: Names::default() }
    }

    /// The next line; none at the end of the file. Empty lines and lines that begin with `#` are
    /// passed over.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            self.buffer.clear();
            if self.input.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let text = self.buffer.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let line = self.line;
            let mut parsed =
                serde_json::from_slice(text).map_err(|source| ReadError::Syntax { line, source })?;
            if let Line::Op(operation) = &mut parsed {
                self.names.share_operation(operation);
            }
            return Ok(Some(parsed));
        }
    }

    fn order(&self, why: &'static str) -> ReadError {
        ReadError::Order { line: self.line, why }
    }

    /// The whole history.
    ///
    /// # Errors
    /// [`ReadError`], also when the first line is no header or the last one no end.
    pub fn history(mut self) -> Result<History, ReadError> {
        let mut history = match self.next_line()? {
            Some(Line::Header(header)) if header.version == Header::VERSION => History::new(*header),
            Some(Line::Header(_)) => return Err(self.order("a version that is not known here")),
            _ => return Err(self.order("no header")),
        };
        loop {
            match self.next_line()? {
                Some(Line::Op(operation)) => history.operations.push(*operation),
                Some(Line::Fault(fault)) => history.faults.push(*fault),
                Some(Line::Log(log)) => history.logs.push(log),
                Some(Line::Header(_)) => return Err(self.order("a second header")),
                Some(Line::End(end)) if end.operations == history.operations.len() as u64 => break,
                Some(Line::End(_)) => return Err(self.order("operations are missing")),
                None => return Err(self.order("no end: the history was cut short")),
            }
        }
        match self.next_line()? {
            None => Ok(history),
            Some(_) => Err(self.order("a line after the end")),
        }
    }
}

/// Reads a whole history.
///
/// # Errors
/// [`ReadError`].
pub fn read(input: impl BufRead) -> Result<History, ReadError> {
    Reader::new(input).history()
}

/// The names seen so far.
#[derive(Debug, Default)]
struct Names(HashSet<Name>);

impl Names {
    fn share(&mut self, name: &mut Name) {
        if let Some(known) = self.0.get(name) {
            *name = known.clone();
        } else {
            self.0.insert(name.clone());
        }
    }

    fn share_payload(&mut self, payload: Option<&mut Payload>) {
        if let Some(owner) = payload.and_then(|payload| payload.owner.as_mut()) {
            self.share(&mut owner.address);
        }
    }

    fn share_operation(&mut self, operation: &mut Operation) {
        self.share(&mut operation.client);
        self.share(&mut operation.principal);
        self.share_call(&mut operation.call);
        match &mut operation.reply {
            Reply::Granted(granted) => self.share_payload(granted.checkpoint.as_mut()),
            Reply::InDoubt { checkpoint, .. } => self.share_payload(checkpoint.as_mut()),
            Reply::Replayed(replayed) => self.share_payload(Some(&mut replayed.outcome.result)),
            Reply::State(view) => {
                if let Some(detail) = view.detail.as_mut() {
                    self.share_payload(detail.checkpoint.as_mut());
                    self.share_payload(detail.outcome.as_mut().map(|outcome| &mut outcome.result));
                }
            }
            Reply::Page { rows, .. } => rows.iter_mut().for_each(|row| self.share(&mut row.address)),
            _ => (),
        }
    }

    fn share_call(&mut self, call: &mut Call) {
        match call {
            Call::Claim(claim) => {
                self.share(&mut claim.address);
                claim.fields.iter_mut().for_each(|field| self.share(&mut field.name));
            }
            Call::Renew(renew) => {
                self.share(&mut renew.address);
                self.share_payload(renew.checkpoint.as_mut());
            }
            Call::Complete(complete) => {
                self.share(&mut complete.address);
                self.share_payload(Some(&mut complete.outcome.result));
            }
            Call::Release(release) => self.share(&mut release.address),
            Call::Resolve(resolve) => {
                self.share(&mut resolve.address);
                self.share_payload(resolve.outcome.as_mut().map(|outcome| &mut outcome.result));
            }
            Call::Forget(forget) => self.share(&mut forget.address),
            Call::Get(get) => self.share(&mut get.address),
            Call::List(list) => self.share(&mut list.tenant),
        }
    }
}
