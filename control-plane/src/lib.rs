//! The control plane: a REST service that sets up what a cluster serves, its tenants, projects, keys and policies.
//!
//! It keeps nothing of its own. The catalogue is replicated by the nodes of the cluster; a control plane holds a
//! replica of it in memory, decides with that, and commits what it has decided if nothing has changed since. So
//! any number of control planes may run beside each other, and the data plane needs none of them.
//!
//! ```text
//!  request ─▶ serve ─▶ http (who asks, what for) ─▶ <resource>/routes ─▶ api.read ─────────▶ replica
//!                                                                     └▶ write ─▶ <resource>/rules ─▶ nodes
//!                                                        replica ◀── follows ◀───────── (any node) ◀──┘
//! ```
//!
//! Each resource is a folder with the same files: `shape` (JSON, and how it is stored), `rules` (what may become of
//! it: pure functions of the catalogue) and `routes`.
//!
//! Invariants: nothing is decided but by `rules`; every change commits what the audit log says of it; what is
//! refused, and with which words, is in `refusal.rs`; of another tenant, nobody learns anything (`admin.rs`); no
//! secret is in a document, a log line or an error; only `clock.rs` reads the time of day.
//!
//! Reading order: `refusal.rs`, `catalogue.rs`, `replica.rs`, `write.rs`, `admin.rs`, `http/`, `projects/`, then the
//! other resources, `console.rs`, and `control_plane.rs`.

mod admin;
mod api;
mod api_keys;
mod audit;
mod catalogue;
pub mod clock;
mod cluster;
pub mod config;
mod console;
mod control_plane;
#[cfg(test)]
mod desk;
mod fetch;
mod health;
mod http;
mod issuers;
mod members;
mod metrics;
mod nodes;
pub mod openapi;
mod projects;
mod quotas;
mod refusal;
mod replica;
mod revocations;
mod serve;
mod shapes;
mod signing_keys;
mod sweeper;
mod tasks;
pub mod telemetry;
mod tenants;
mod tokens;
mod topics;
mod usage;
mod write;

pub use admin::{KeySource, OperatorIf};
pub use config::Config;
pub use control_plane::ControlPlane;
pub use highwater_certificates::TlsFiles;
