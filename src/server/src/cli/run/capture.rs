//! What a command writes: passed on as it comes, and kept up to a bound.

use std::io::{self, Write as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What is kept of each stream: two of them, with their markers, fit one result.
pub(super) const KEPT_BYTES: usize = 127 * 1024;

/// Where a command's output goes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// To this process's own streams, and kept.
    Shown,
    /// Only kept.
    Kept,
}

/// One of this process's own streams.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Streams {
    pub(super) fn stdout(self) -> Option<Own> {
        (self == Self::Shown).then_some(Own::Out)
    }

    pub(super) fn stderr(self) -> Option<Own> {
        (self == Self::Shown).then_some(Own::Err)
    }
}

impl Own {
    /// Writes and flushes; a reader that has gone away does not end the command.
    pub(super) fn write(self, bytes: &[u8]) -> io::Result<()> {
        let written = match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Self::Err => io::stderr().lock().write_all(bytes),
        };
        no_reader(written)
    }

    /// The stream for a task that must not be held up by a slow reader: renewals go on meanwhile.
    fn writer(self) -> Box<dyn AsyncWrite + Unpin> {
        match self {
            Self::Out => Box::new(tokio::io::stdout()),
            Self::Err => Box::new(tokio::io::stderr()),
        }
    }
}

fn no_reader(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The beginning of a stream, and how much there was.
#[derive(Debug, Default)]
pub(super) struct Capture {
    kept: Vec<u8>,
    left_out: u64,
}

impl Capture {
    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let (kept, rest) = bytes.split_at(bytes.len().min(KEPT_BYTES - self.kept.len()));
        self.kept.extend_from_slice(kept);
        self.left_out += rest.len() as u64;
    }

    /// What is kept, with a marker at its end where something was left out.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.left_out > 0 {
            self.kept.extend_from_slice(format!("\n[hapax: {} bytes left out]\n", self.left_out).as_bytes());
        }
        self.kept
    }
}

/// Reads a stream to its end, or until `enough`.
pub(super) async fn copy(
    from: Option<impl AsyncRead + Unpin>,
    to: Option<Own>,
    enough: impl Future<Output = ()>,
) -> io::Result<Capture> {
    let mut capture = Capture::default();
    let Some(mut from) = from else { return Ok(capture) };
    let mut to = to.map(Own::writer);
    let mut buffer = vec![0; 16 * 1024];
    tokio::pin!(enough);
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            () = &mut enough => return Ok(capture),
        };
        if read == 0 {
            return Ok(capture);
        }
        capture.take(&buffer[..read]);
        if let Some(to) = &mut to {
            no_reader(to.write_all(&buffer[..read]).await)?;
            no_reader(to.flush().await)?;
        }
    }
}
