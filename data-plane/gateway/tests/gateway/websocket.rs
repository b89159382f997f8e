//! `/v1/ws`, as clients of another library see it.

mod handshake;
mod lifetime;
pub mod peer;
mod talk;
