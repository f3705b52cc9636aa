//! The peer port: lets peers in, from before the cluster is formed until the node stops.
//!
//! A peer of another cluster, or of no common version, is refused with the reason. Until a node is
//! attached only the roster is served.

use crate::config::NodeConfig;
use crate::env::Env;
use crate::env::net::{TcpListener, TcpStream};
use crate::ids::NodeId;
use crate::node::Node;
use crate::peer::connection::{Introduction, next_frame, refuse};
use crate::peer::service;
use crate::stop::StopFlag;
use bytes::BytesMut;
use hapax_core::{ErrorCode, Refusal};
use hapax_wire::peer::{Channel, PeerHello, PeerWelcome, Roster};
use hapax_wire::version::Versions;
use hapax_wire::{Decoder, Message, limits};
use parking_lot::RwLock;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections of peers at one time; each node has two.
const CONNECTIONS: usize = 256;

/// What the connections of peers share.
pub struct PeerAcceptor {
    me: Introduction,
    env: Env,
    roster: RwLock<Option<Roster>>,
    node: RwLock<Weak<Node>>,
    stop: StopFlag,
}

impl PeerAcceptor {
    /// Starts to let peers in.
    #[must_use]
    pub fn start(listener: TcpListener, config: &NodeConfig, env: Env) -> Arc<Self> {
        let me = Introduction { cluster: config.cluster, node: config.node, name: config.name.clone() };
        let acceptor = Arc::new(Self {
            me,
            env,
            roster: RwLock::new(None),
            node: RwLock::new(Weak::new()),
            stop: StopFlag::new(),
        });
        tokio::spawn(Arc::clone(&acceptor).accept(listener));
        acceptor
    }

    /// The roster that peers are told.
    #[must_use]
    pub fn roster(&self) -> Option<Roster> {
        self.roster.read().clone()
    }

    /// Sets the roster that peers are told.
    pub fn set_roster(&self, roster: Roster) {
        *self.roster.write() = Some(roster);
    }

    /// How this node introduces itself.
    #[must_use]
    pub fn me(&self) -> &Introduction {
        &self.me
    }

    /// This node's clocks.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// From now on this node serves its peers.
    pub fn attach(&self, node: &Arc<Node>) {
        *self.node.write() = Arc::downgrade(node);
    }

    /// The node, once it is attached.
    #[must_use]
    pub fn node(&self) -> Option<Arc<Node>> {
        self.node.read().upgrade()
    }

    /// Lets nobody in any more and drops every connection.
    pub fn stop(&self) {
        self.stop.raise();
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = self.stop.subscribe();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            tokio::select! {
                () = stop.wait() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let acceptor = Arc::clone(&self);
                        let mut stop = self.stop.subscribe();
                        tokio::spawn(async move {
                            tokio::select! {
                                () = stop.wait() => {}
                                () = acceptor.welcome(stream) => {}
                            }
                            drop(place);
                        });
                    }
                    // Out of file descriptors, say: connections that end make room again.
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a peer");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }

    async fn welcome(self: Arc<Self>, mut stream: TcpStream) {
        let handshake =
            timeout(Duration::from_millis(limits::HANDSHAKE_MS), self.handshake(&mut stream)).await;
        let result = match handshake {
            Ok(Ok((channel, from, decoder))) => match channel {
                Channel::Control => service::serve_control(&self, stream, decoder, from).await,
                Channel::Snapshot => service::serve_snapshots(&self, stream, decoder, from).await,
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a peer's connection ended");
        }
    }

    async fn handshake(&self, stream: &mut TcpStream) -> io::Result<(Channel, NodeId, Decoder)> {
        stream.set_nodelay(true)?;
        let mut decoder = Decoder::new(limits::HANDSHAKE_BYTES);
        let hello = match next_frame(stream, &mut decoder).await {
            Ok(Some(frame)) => PeerHello::take(&frame).map_err(|fault| fault.to_string()),
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error.to_string()),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(why) => {
                let refusal = Refusal::definite(ErrorCode::Invalid, "the first frame is no peer's hello");
                refuse(stream, refusal).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        let version = match Versions::SPOKEN.agree(hello.versions) {
            Ok(version) => version,
            Err(refusal) => return self.turn_away(stream, refusal).await,
        };
        if hello.cluster != Some(self.me.cluster) {
            let refusal = Refusal::definite(ErrorCode::WrongCluster, "this node belongs to another cluster");
            return self.turn_away(stream, refusal).await;
        }
        let welcome = PeerWelcome {
            version,
            cluster: Some(self.me.cluster),
            node: self.me.node.as_u64(),
            name: self.me.name.clone(),
        };
        let mut out = BytesMut::new();
        welcome.put(&mut out).map_err(|fault| io::Error::other(fault.to_string()))?;
        stream.write_all(&out).await?;
        decoder.set_limit(limits::PEER_FRAME_BYTES);
        Ok((hello.channel, NodeId::from_u64(hello.node), decoder))
    }

    async fn turn_away<T>(&self, stream: &mut TcpStream, refusal: Refusal) -> io::Result<T> {
        tracing::warn!(why = %refusal, "a peer was turned away");
        let why = refusal.text.clone();
        refuse(stream, refusal).await;
        Err(io::Error::other(why))
    }
}
