//! A connection that says exactly what it is told: for frames that no client sends, and for
//! questions to one node rather than to the cluster.

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use hapax_core::{Answer, Ask, Request};
use hapax_wire::client::{Call, CallsFrame, Hello, Push, ToClient, Welcome};
use hapax_wire::{Decoder, Message as _, Versions, limits};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A connection to one port of one node.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    decoder: Decoder,
}

impl Raw {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = timeout(WITHIN, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, decoder: Decoder::new(limits::CLIENT_FRAME_BYTES) })
    }

    /// Connects to a client port and shakes hands.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn greeted(address: &str) -> Result<(Self, Welcome)> {
        let mut raw = Self::connect(address).await?;
        raw.send(&hello()?).await?;
        match raw.next().await?.context("closed instead of a welcome")? {
            ToClient::Welcome(welcome) => Ok((raw, welcome)),
            other => bail!("{other:?} instead of a welcome"),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(timeout(WITHIN, self.stream.write_all(bytes)).await??)
    }

    /// The next message; none when the node has closed.
    ///
    /// # Errors
    /// When nothing comes in time, or what comes is no message.
    pub async fn next(&mut self) -> Result<Option<ToClient>> {
        loop {
            if let Some(frame) = self.decoder.poll()? {
                return Ok(Some(ToClient::take(&frame)?));
            }
            let read = timeout(WITHIN, self.stream.read_buf(self.decoder.buffer())).await;
            match read.context("nothing came in time")? {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads and drops whatever comes until the node closes; says how many bytes came.
    ///
    /// # Errors
    /// When it does not close in time.
    pub async fn closed(&mut self, within: Duration) -> Result<usize> {
        let mut bytes = 0;
        let drain = async {
            let mut buffer = vec![0; 65_536];
            loop {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => bytes += read,
                }
            }
        };
        timeout(within, drain).await.context("the node does not close the connection")?;
        Ok(bytes)
    }

    /// How many bytes have come that nobody has read.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn unread(&self) -> Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.stream)?)
    }

    /// Asks all at once and waits for all answers, in the order of the questions.
    ///
    /// # Errors
    /// When one is not answered.
    pub async fn ask_all(&mut self, asks: &[Ask], deadline_ms: u32) -> Result<Vec<Answer>> {
        let mut out = BytesMut::new();
        let mut frame = CallsFrame::start(&mut out);
        for (id, ask) in (1u64..).zip(asks) {
            let request = Request { not_after: None, ask: ask.clone() };
            match frame.push(id, deadline_ms, &request) {
                Push::Taken => {}
                other => bail!("{other:?}"),
            }
        }
        frame.finish();
        self.send(&out).await?;
        let mut answers: HashMap<u64, Answer> = HashMap::new();
        while answers.len() < asks.len() {
            match self.next().await?.context("closed before every answer came")? {
                ToClient::Answer(answer) => {
                    let twice = answers.insert(answer.id, answer.answer);
                    anyhow::ensure!(twice.is_none(), "call {} was answered twice", answer.id);
                }
                ToClient::Table(_) => {}
                other => bail!("{other:?} instead of an answer"),
            }
        }
        (1u64..).take(asks.len()).map(|id| answers.remove(&id).context("an answer to no call")).collect()
    }
}

/// The bytes of a client's hello.
///
/// # Errors
/// Never: it fits its frame.
pub fn hello() -> Result<Vec<u8>> {
    let hello =
        Hello { versions: Versions::SPOKEN, cluster: None, name: "a test".to_owned(), credentials: None };
    let mut out = BytesMut::new();
    hello.put(&mut out)?;
    Ok(out.to_vec())
}

/// The bytes of one call.
///
/// # Errors
/// When it fits no frame.
pub fn call(id: u64, deadline_ms: u32, ask: Ask) -> Result<Vec<u8>> {
    let calls = vec![Call { id, deadline_ms, request: Request { not_after: None, ask } }];
    let mut out = BytesMut::new();
    hapax_wire::client::Calls { calls, malformed: Vec::new() }.put(&mut out)?;
    Ok(out.to_vec())
}
