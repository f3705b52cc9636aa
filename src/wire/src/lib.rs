//! What travels between a client and a node, and between nodes: messages, their bytes, their
//! limits, and the frames that carry them.
//!
//! A pure codec: bytes in, messages out, and back. No socket, timer or async runtime is touched,
//! so that the same code runs over TCP, under the simulator and in the fuzzers.
//!
//! | module | holds |
//! |---|---|
//! | [`frame`] | the frame form: header, checksum, the incremental [`Decoder`] |
//! | [`message`] | how a message becomes a frame and a frame a message |
//! | [`client`] | what a client and a node say to each other |
//! | [`peer`] | what nodes say to each other |
//! | [`status`] | how a node describes itself, to both |
//! | [`kind`] | the frozen number of every message |
//! | [`version`] | which protocol versions are spoken, and how one is agreed on |
//! | [`limits`] | every bound |
//!
//! **Reading** costs one copy from the socket into the decoder's buffer. A frame's body is a
//! shared slice of that buffer; log entries and snapshot chunks are slices of it in turn, and only
//! the small parts of a message are copied out. **Writing** appends to the caller's buffer, so that
//! any number of frames leave in one write.
//!
//! **Hostile input**: a length is checked before anything is reserved for it, memory grows with
//! the bytes that really came, lists and texts have bounds, and nothing here panics on a byte.
//!
//! ```
//! use hapax_wire::client::{Ping, ToServer};
//! use hapax_wire::{Decoder, Message, limits};
//!
//! // The sender appends as many frames as it likes, then writes the buffer once.
//! let mut out = bytes::BytesMut::new();
//! Ping { nonce: 1 }.put(&mut out)?;
//! Ping { nonce: 2 }.put(&mut out)?;
//!
//! // The receiver reads into `decoder.buffer()` and polls until no whole frame is left.
//! let mut decoder = Decoder::new(limits::CLIENT_FRAME_BYTES);
//! decoder.buffer().extend_from_slice(&out);
//! while let Some(frame) = decoder.poll()? {
//!     assert!(matches!(ToServer::take(&frame)?, ToServer::Ping(_)));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;

pub mod client;
pub mod cluster;
pub mod fault;
pub mod frame;
pub mod kind;
pub mod limits;
pub mod message;
pub mod peer;
pub mod status;
pub mod version;

pub use cluster::ClusterId;
pub use fault::{EncodeFault, FrameFault, MessageFault};
pub use frame::{Decoder, Frame};
pub use message::Message;
pub use version::Versions;
