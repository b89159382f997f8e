//! What a broker does, without sockets, disks or clocks.
//!
//! A publish becomes a [`handle::Publish`] and goes into a [`handle::ShardHandle`]; the shard's task
//! replicates it and every replica runs [`state::ShardState::apply`], which gives it its offset. The
//! records come out as [`segment::Segment`]s, which the [`tail::Tail`] keeps for live readers. A
//! [`subscription::Subscription`] reads the tail, or storage where it lags, and says where it is
//! as a [`cursor::Cursor`].
//!
//! ```text
//! gateway ── Publish ──▶ ShardHandle ══▶ (cluster: propose, commit) ══▶ ShardState::apply
//!                                                                            │ segments
//! gateway ◀── Delivery ── Subscription ◀── Tail ◀────────────────────────────┘
//!                              └────────◀── ShardHandle::read (storage)
//! ```
//!
//! Invariants: nothing here reads a clock (time is an argument), opens a file or a socket, or knows
//! a protocol by more than the name it is counted by. Every queue has a limit from [`highwater_proto::limits`].
//!
//! Reading order: `segment.rs`, `state.rs`, `handle.rs`, `tail.rs`, `cursor.rs`, `subscription.rs`,
//! then `catalogue.rs`, `quota.rs`, `metering.rs`, `deletion.rs`, `system.rs`, `ticket.rs` and `broker.rs`.

pub mod broker;
pub mod catalogue;
pub mod cursor;
pub mod deletion;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod from;
pub mod group;
pub mod handle;
pub mod metering;
pub mod quota;
pub mod refusal;
pub mod segment;
pub mod session;
pub mod state;
pub mod subscription;
pub mod system;
pub mod tail;
pub mod ticket;

pub use broker::Broker;
pub use refusal::{Refusal, Result};
