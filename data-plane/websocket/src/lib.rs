//! The WebSocket wire: RFC 6455 and permessage-deflate (RFC 7692) without I/O, clock or randomness.
//!
//! ```text
//!   request headers ──► handshake ──► Answer ── Agreement ──┐
//!                                                           ▼
//!   socket ──► BytesMut ──► Decoder ──► Event        (one per connection)
//!                             │ Violation ──► Closing ──► close frame
//!                             └ Message ── Inflater   (only while one is under way)
//!
//!   message ──► frame::shared ────► Bytes ──► every connection
//!          └──► Deflater::shared ─► Bytes ──► every connection that agreed on compression
//! ```
//!
//! **Why our own.** Delivery to many subscribers wants a frame that is encoded, and compressed, once
//! and shared as [`bytes::Bytes`] by thousands of connections. An idle connection may cost about 2 KiB
//! of user memory, so its reading half keeps no buffer and no compressor. A message is limited before
//! its payload arrives, and tightly so until the client has authenticated. The other crates fall
//! short of one or another: tungstenite has no permessage-deflate, yawc is under the MPL and
//! owns its I/O.
//!
//! **Invariants**
//!
//! - Input never panics, and is never hoarded: a length is checked on the header, inflating stops at the
//!   first byte too many, and the buffer of a message is no larger than its limit and one byte (and
//!   half as much again for the moment in which it grows). What a begun message makes the decoder hold
//!   is about what was sent of it, until 4 KiB of a compressed one make an inflater worth while.
//! - What comes out does not depend on how the network split the input.
//! - The first byte that makes the input invalid is the one that is answered with a [`Violation`],
//!   text that is no UTF-8 included; nothing is accepted after it, nor after a close frame.
//! - Nothing here sends: the caller writes the frames, and closes the socket.
//!
//! **Reading order**: [`header`] (one frame's header), [`frame`] (whole frames to send), [`mask`],
//! [`decoder`] (the reading half), `message` (what it keeps between fragments), `inflate` and
//! [`deflate`], [`text`] (UTF-8 piece by piece), [`close`] (codes and the closing handshake),
//! [`violation`]; then the opening: [`handshake`], [`negotiation`], `extensions`.
//!
//! **Deliberately absent**: the HTTP request itself, `Origin` (a policy of the gateway), ping
//! intervals and timeouts (they need a clock), and compressor contexts of single connections
//! ([`negotiation`] says why).
#![forbid(unsafe_code)]

pub mod close;
pub mod decoder;
pub mod deflate;
mod extensions;
pub mod frame;
pub mod handshake;
pub mod header;
mod inflate;
pub mod mask;
mod message;
pub mod negotiation;
pub mod text;
pub mod violation;

pub use close::{Close, Closing};
pub use decoder::{Decoder, Event, Role};
pub use deflate::Deflater;
pub use header::{Header, Opcode};
pub use negotiation::{Agreement, Policy};
pub use text::Text;
pub use violation::Violation;
