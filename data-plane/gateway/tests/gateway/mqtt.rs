//! MQTT as its clients see it, packet by packet.

mod messages;
mod peer;
mod sessions;
mod websocket;
