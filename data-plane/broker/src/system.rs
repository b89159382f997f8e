//! The system's own project: where the service keeps what it must remember for its clients.
//!
//! What is written here is replicated, ordered and retained like everything else, and is the same on every
//! node. No credential opens it: the catalogue cannot name it. Each use has a first level of its own,
//! and with it the policy that says how long its records stay.

use highwater_proto::ids::{ProjectId, ShardId, TenantId};

use crate::catalogue::Project;

/// Its id, which no customer's project may have.
pub const PROJECT: ProjectId = ProjectId::from_bytes([0; 16]);

/// The project in a cluster of these shards: spread over all of them, since it works for every tenant.
///
/// The shards of a cluster never change, and neither does their order, so a topic stays where it is.
pub fn project(shards: Vec<ShardId>) -> Project {
    Project::new(PROJECT, TenantId::from_bytes([0; 16]), "system", shards)
}
