//! End-to-end tests and benchmarks: the real binary, real processes, real sockets and disks.
//!
//! Nothing here knows how Highwater is built. A [`cluster::Cluster`] is started through the `highwater`
//! command, spoken to through its front doors as any client would, and hurt from outside: killed, stopped,
//! given a bad disk. What was promised to the clients meanwhile is kept in a [`ledger::Ledger`],
//! and what is read back is held against it.
//!
//! `tests/` has one file a promise of the design, named after it, and one a kind of fault. `interop/` drives
//! other people's clients, one file each, and needs what `scripts/setup interop` installs. `bench/` is
//! the benchmark: Highwater and its rivals, interleaved, one file a workload.
//!
//! ```text
//! tests/p01_…  ──►  Load ──► Client ──gRPC──►  highwater node × 3  ◄── signals, faults ── Cluster
//!                     └──► Ledger ◄── what was acked   ▲
//!                              └── checks ◄── Read, Live ┘
//! ```
//! Reading order: `cluster.rs`, `client.rs`, `ledger.rs`, `load.rs`, `live.rs`, then a test.

pub mod admin;
pub mod binary;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod condition;
pub mod dev;
pub mod events;
pub mod faults;
pub mod ledger;
pub mod live;
pub mod load;
pub mod logs;
pub mod mqtt;
pub mod process;
pub mod random;
pub mod refusal;
pub mod report;
pub mod socket;
pub mod usage;

pub use client::Client;
pub use cluster::Cluster;
pub use condition::{eventually, eventually_some};
pub use ledger::Ledger;
pub use live::{Door, Live};
pub use load::Load;
pub use random::Random;
