//! What a client and a node say to each other.
//!
//! The client opens with [`Hello`], the node answers [`Welcome`] or [`Error`] and closes. Then the
//! client sends [`Calls`] without waiting for answers; each call has an id that is unique among
//! those in flight on its connection, and each is answered by exactly one [`Answer`], in any order.
//! [`Cancel`] tells that a caller is gone. Everything else is a question with an id and its answer.
//! What is not answered when the connection ends has an unknown outcome.

mod answer;
mod calls;
mod cancel;
mod error;
mod hello;
mod ping;
mod status;
mod table;
mod welcome;

pub use answer::Answer;
pub use calls::{Call, Calls, CallsFrame, Malformed, Push};
pub use cancel::Cancel;
pub use error::Error;
pub use hello::Hello;
pub use ping::{Ping, Pong};
pub use status::{Status, StatusAsk};
pub use table::{NodeEntry, ReplicaRef, ShardEntry, ShardTable, Table, TableAsk};
pub use welcome::{Limits, Welcome};

pub(crate) use calls::{put_call, take_call};

use crate::message::message_set;

/// What a node may receive from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToServer {
    /// Opens the connection.
    Hello(Hello),
    /// Operations.
    Calls(Calls),
    /// A caller is gone.
    Cancel(Cancel),
    /// Asks for the shard table.
    TableAsk(TableAsk),
    /// Asks how the node is.
    StatusAsk(StatusAsk),
    /// Asks whether the connection is alive.
    Ping(Ping),
    /// The client gives the connection up.
    Error(Error),
}
message_set!(ToServer { Hello, Calls, Cancel, TableAsk, StatusAsk, Ping, Error });

/// What a client may receive from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToClient {
    /// The handshake is done.
    Welcome(Welcome),
    /// The answer to one operation.
    Answer(Answer),
    /// The shard table.
    Table(Table),
    /// How the node is.
    Status(Status),
    /// The connection is alive.
    Pong(Pong),
    /// The node gives the connection up.
    Error(Error),
}
message_set!(ToClient { Welcome, Answer, Table, Status, Pong, Error });
