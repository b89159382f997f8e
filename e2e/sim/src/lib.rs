//! The cluster under simulation: three nodes, a network, disks and clients in one thread, in which
//! nothing is random but what a seed says.
//!
//! ```text
//!            clients (publishers, subscribers, readers) ──▶ oracle: what they were promised
//!               │ broker handles
//!   n1 ═════ n2 ═════ n3      cluster crate as it is, over turmoil's network
//!   │        │        │
//!  disk     disk     disk     lose, tear and flip what was not synced ◀── nemesis: faults
//!   └────────┴────────┴─────▶ observer ──▶ invariants: Raft's safety, from the outside
//! ```
//!
//! Reading order: `run.rs`, `settings.rs`, `world.rs`, `node.rs`, `clients.rs`, `oracle.rs`,
//! `journey.rs`, `nemesis.rs`, `observer.rs`, `invariants.rs`, and `entropy.rs` for why it repeats.

#[cfg(not(tokio_unstable))]
compile_error!("the simulation needs the flags of its own folder: run cargo in e2e/sim");

pub mod clients;
pub mod counts;
pub mod disk;
pub mod entropy;
pub mod invariants;
pub mod journey;
pub mod message;
pub mod nemesis;
pub mod node;
pub mod observer;
pub mod oracle;
pub mod panics;
pub mod run;
pub mod settings;
pub mod trace;
pub mod transport;
pub mod world;
