//! The MQTT wire format, 3.1.1 and 5.0: what bytes are a packet, and what packet they are.
//!
//! There is no I/O here, no clock and no session: a [`Decoder`] turns the bytes of one connection into
//! [`Packet`]s, and a packet is turned into bytes by [`Packet::encode`]. What a packet means is decided
//! elsewhere.
//!
//! ```text
//!           frame.rs        decoder.rs          packet/*.rs
//! bytes ──▶ Header, Frame ──▶ Decoder ──▶ Packet { Connect, Publish, … } ──▶ the server
//!                                            reader.rs, property.rs read its fields
//!
//! the server ──▶ Packet ──────────────▶ sink.rs: counted, then written ──▶ bytes
//!            └─▶ template.rs: a PUBLISH encoded once for many subscribers ──▶ bytes
//! ```
//!
//! Invariants:
//!
//! - **Strict.** Whatever the specification calls malformed or a protocol error is a [`DecodeError`],
//!   with the reason code to answer; nothing is repaired. Two things are left to the server, because it
//!   can refuse them without closing: a filter in SUBSCRIBE or UNSUBSCRIBE and a topic in a PUBLISH of
//!   5.0 that are not valid are told apart by their type ([`topic::Invalid`]).
//! - **What a type can hold is valid**: there is no QoS 3, no identifier 0, no DUP with QoS 0, no
//!   string with U+0000, no authentication data without a method.
//! - **No copies.** Texts and payloads are slices of the buffer that was read. What is kept longer than
//!   its packet is [`detached`](Text::detached).
//! - **Bounded.** A packet that is too large is refused from its header; lists are limited by
//!   [`Limits`]; nothing is allocated for bytes that have only been announced.
//! - **Input never panics**, and there is no unsafe code.
//! - **One type for both versions**: 3.1.1 leaves the properties empty, and encoding for 3.1.1 leaves
//!   them out.
//!
//! Reading order: `kind.rs`, `frame.rs`, `decoder.rs`, `packet.rs`, `packet/publish.rs`, `property.rs`,
//! `sink.rs`, `template.rs`; then `error.rs` and `reason.rs` for how it is said that something is wrong.

#![forbid(unsafe_code)]

pub mod decoder;
pub mod error;
pub mod frame;
pub mod ids;
pub mod kind;
pub mod limits;
pub mod packet;
pub mod property;
mod reader;
pub mod reason;
pub mod sender;
mod sink;
pub mod template;
pub mod text;
pub mod topic;
mod varint;
pub mod version;

pub use decoder::Decoder;
pub use error::{DecodeError, EncodeError};
pub use frame::Frame;
pub use ids::{PacketId, Qos, SubscriptionId};
pub use kind::Kind;
pub use limits::Limits;
pub use packet::Packet;
pub use property::{Property, UserProperties};
pub use reason::ReasonCode;
pub use sender::Sender;
pub use template::Template;
pub use text::{Binary, Text};
pub use version::Version;
