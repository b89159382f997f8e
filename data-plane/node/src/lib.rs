//! One process of a cluster: reads its configuration, wires the data plane together, says how it is
//! doing, and stops in order.
//!
//! ```text
//! config ─▶ telemetry ─▶ Node::start ─▶ cluster (peer door) ─▶ broker ─▶ gateway (client door)
//!                                          └── health ◀──────────────────────┘
//!                        Node::run_until ─▶ shutdown
//! ```
//!
//! Invariants: this is the only crate of the data plane that reads the clock (`clock.rs`), the
//! environment or a file of settings; what it logs holds no payload and no secret.
//!
//! Reading order: `config.rs`, `node.rs`, `shutdown.rs`, `health.rs`, then the rest.

mod catalogue;
pub mod clock;
pub mod config;
pub mod health;
mod metrics;
pub mod node;
pub mod process;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;

pub use config::Config;
pub use node::Node;
