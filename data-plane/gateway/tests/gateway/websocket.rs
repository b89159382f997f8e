//! `/v1/ws`, as clients of another library see it.

mod handshake;
mod lifetime;
mod peer;
mod talk;
