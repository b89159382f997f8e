//! The front doors: what a client's bytes become before they reach the broker, and the way back.
//!
//! One port speaks HTTP/1.1, HTTP/2, gRPC and gRPC-web ([`serve`]). A protocol folder only translates;
//! what all protocols share is in the files around it:
//!
//! ```text
//! socket ─ serve.rs ─┬─ http/ ─┬─ authenticate.rs ─┬─ publish.rs ── broker::ShardHandle
//!                    └─ grpc/ ─┘                   ├─ deliver.rs ── broker::Subscription (streams)
//!                                                  └─ read.rs ───── broker::Subscription (pages)
//! ```
//!
//! Invariants: nothing here knows how records are stored or replicated; every publish goes through
//! [`publish`] and every record that leaves is encoded in [`deliver`] or `http/json.rs`; every task is
//! started by [`task`]; time comes from the clock that was passed in.
//!
//! Reading order: `gateway.rs`, `publish.rs`, `deliver.rs`, `read.rs`, `authenticate.rs`, then `http.rs`
//! and `grpc.rs`, then `serve.rs`.

pub mod authenticate;
pub mod deliver;
pub mod gateway;
mod grpc;
mod http;
pub mod metrics;
pub mod publish;
pub mod read;
mod receiving;
mod sampling;
pub mod serve;
pub mod task;

pub use gateway::{Clock, Gateway, Options};
