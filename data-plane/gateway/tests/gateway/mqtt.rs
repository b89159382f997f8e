//! MQTT as its clients see it, packet by packet.

mod messages;
pub mod peer;
mod sessions;
mod websocket;
