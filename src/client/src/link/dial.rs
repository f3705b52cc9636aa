//! Making a connection: the socket, then hello and welcome.

use super::{Bounds, Link, Shared, drive};
use crate::config::ClientConfig;
use crate::env::{self, Env, Instant, Stream};
use crate::error::Error;
use crate::link::pending::Pending;
use crate::routes::Routes;
use bytes::BytesMut;
use hapax_core::ErrorCode;
use hapax_wire::client::{Hello, ToClient, Welcome};
use hapax_wire::{ClusterId, Decoder, Frame, Message, Versions, limits};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// A stream after its handshake, with what was read beyond it.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    pub(super) decoder: Decoder,
}

/// Connects to `addr` until `deadline`, as a client of `cluster` where one is known.
///
/// # Errors
/// Always definite: nothing but a greeting was sent. A refusal of the node keeps its code.
pub(crate) async fn dial(
    env: &Env,
    config: &ClientConfig,
    routes: &Arc<Routes>,
    addr: &str,
    cluster: Option<ClusterId>,
    deadline: Instant,
) -> Result<(Link, Welcome), Error> {
    let unreachable = |why: String| Error::definite(ErrorCode::Unavailable, format!("node {addr}: {why}"));
    let stream = env::by(deadline, env.connect(addr)).await;
    let stream = stream
        .ok_or_else(|| unreachable("no connection in time".to_owned()))?
        .map_err(|error| unreachable(error.kind().to_string()))?;
    let greeted = env::by(deadline, greet(stream, config, cluster)).await;
    let (opened, welcome) = greeted.ok_or_else(|| unreachable("no welcome in time".to_owned()))??;
    let in_flight = config.max_in_flight.min(usize::try_from(welcome.limits.in_flight).unwrap_or(usize::MAX));
    let bounds = Bounds { in_flight, ping_after: config.ping_after, ping_timeout: config.ping_timeout };
    // Each place in flight has at most a call and its cancel queued; the rest is for questions.
    let (queue, taken) = mpsc::channel(2 * config.max_in_flight + 16);
    let shared = Arc::new(Shared {
        pending: Pending::default(),
        queue: queue.downgrade(),
        bounds,
        routes: Arc::clone(routes),
        env: env.clone(),
    });
    let task = env.spawn(drive(Arc::clone(&shared), taken, opened));
    Ok((Link { queue, shared, _task: task }, welcome))
}

async fn greet(
    mut stream: Box<dyn Stream>,
    config: &ClientConfig,
    cluster: Option<ClusterId>,
) -> Result<(Opened, Welcome), Error> {
    let failed = |error: std::io::Error| {
        Error::definite(ErrorCode::Unavailable, format!("greeting the node failed: {}", error.kind()))
    };
    let hello = Hello { versions: Versions::SPOKEN, cluster, name: config.name.clone(), credentials: None };
    let mut out = BytesMut::new();
    hello.put(&mut out).map_err(|fault| Error::from(fault.refusal()))?;
    stream.write_all(&out).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;

    let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
    let frame = loop {
        match decoder.poll().map_err(|_| stranger())? {
            Some(frame) => break frame,
            None if stream.read_buf(decoder.buffer()).await.map_err(failed)? == 0 => {
                return Err(Error::definite(ErrorCode::Unavailable, "the node closed the connection"));
            }
            None => {}
        }
    };
    let welcome = welcomed(&frame, cluster)?;
    decoder.set_limit(limits::CLIENT_FRAME_BYTES);
    Ok((Opened { stream, decoder }, welcome))
}

/// Checks the first frame of a node.
fn welcomed(frame: &Frame, cluster: Option<ClusterId>) -> Result<Welcome, Error> {
    let welcome = match ToClient::take(frame) {
        Ok(ToClient::Welcome(welcome)) => welcome,
        Ok(ToClient::Error(error)) => {
            // Before the welcome nothing can have had an effect, whatever the node says.
            return Err(Error::definite(error.refusal.code, error.refusal.text));
        }
        _ => return Err(stranger()),
    };
    if !Versions::SPOKEN.contains(welcome.version) {
        return Err(Error::definite(ErrorCode::Version, "the node chose a protocol version not spoken here"));
    }
    if cluster.is_some_and(|cluster| cluster != welcome.cluster) {
        return Err(Error::definite(ErrorCode::WrongCluster, "the node belongs to another cluster"));
    }
    Ok(welcome)
}

/// Not a node, or not its client port: another address may be one.
fn stranger() -> Error {
    Error::definite(ErrorCode::Unavailable, "what answers there does not speak this protocol")
}
