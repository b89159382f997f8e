//! The front doors: what a client's bytes become before they reach the broker, and the way back.
//!
//! One port speaks HTTP/1.1, HTTP/2, event streams, WebSocket, gRPC, gRPC-web and MQTT ([`serve`]). A protocol folder
//! only translates; what all protocols share is in the files around it:
//!
//! ```text
//! socket ─ serve.rs ─┬─ http/ ─┬─ authenticate.rs ─┬─ publish.rs ── broker::ShardHandle
//!                    ├─ sse/ ──┤                   ├─ reader.rs ─┬─ broker::Subscription
//!                    ├─ websocket/                 ├─ read.rs ───┘  (streams, and pages)
//!                    ├─ grpc/ ─┤                   └─ deliver.rs    (how records leave)
//!                    └─ mqtt/ ─┘
//! ```
//!
//! Invariants: nothing here knows how records are stored or replicated; every publish goes through
//! [`publish`] and every record that leaves through [`deliver`]; every task is started by [`task`]; time
//! comes from the clock that was passed in.
//!
//! A connection that is idle holds what it waits with and no more: rooms to read into, to write from and to read
//! storage with are there while they are used (`io.rs`, `read_in.rs`, `alarm.rs`).
//!
//! Reading order: `gateway.rs`, `publish.rs`, `reader.rs`, `deliver.rs`, `read.rs`, `authenticate.rs`, `session.rs`,
//! `page.rs`, `cors.rs`, `ticket.rs`, then
//! `http.rs`, `sse.rs`, `websocket.rs`, `grpc.rs` and `mqtt.rs`, then `serve.rs`.

mod alarm;
pub mod authenticate;
mod consumer;
mod cors;
pub mod deliver;
pub mod gateway;
mod grpc;
mod http;
mod io;
mod json;
pub mod metrics;
mod mqtt;
mod nodes;
pub mod page;
pub mod publish;
pub mod read;
mod read_in;
pub mod reader;
mod receiving;
mod sampling;
pub mod serve;
pub mod session;
mod sse;
pub mod task;
mod ticket;
mod websocket;

pub use gateway::{Clock, Gateway, Options};
pub use grpc::catalogue::ClusterView;
pub use nodes::Peers;
pub use serve::{ALPN_PROTOCOLS, Tls};
