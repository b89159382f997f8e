//! `/v1/ws`, as clients of another library see it.

mod compression;
mod handshake;
mod lifetime;
mod over_http2;
pub mod peer;
mod talk;

pub use peer::{Peer, in_proto, refused_with, request, with_key};
