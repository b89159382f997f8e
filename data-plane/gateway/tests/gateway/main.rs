//! The gateway over real sockets and a made-up shard: what the wire contract says, line by line.

mod browser;
mod expiry;
mod fields;
mod groups;
mod grpc;
mod http;
mod mqtt;
mod port;
mod quotas;
mod retained;
mod sse;
mod stage;
mod websocket;
