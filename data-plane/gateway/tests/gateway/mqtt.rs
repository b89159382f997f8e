//! MQTT as its clients see it, packet by packet.

mod aliases;
mod connect;
mod credentials;
mod ends;
mod keep_alive;
mod limits;
mod messages;
mod nodes;
pub mod peer;
mod publish;
mod raw;
mod redelivery;
mod retained;
mod sessions;
mod subscribe;
mod websocket;
mod wills;
