//! What several resources have in common, as JSON.

mod id;
mod name;
mod patch;
mod permission;
mod state;
mod time;

pub use id::{
    Id, IssuerRef, KeyRef, MemberRef, ProjectRef, RevocationRef, SigningKeyRef, TenantRef, TokenRef,
};
pub use name::{Labels, check_labels, check_name, check_origins};
pub use patch::Patch;
pub use permission::{Permission, check_permissions, permissions_of, permissions_to};
pub use state::State;
pub use time::{Timestamp, expiry_ms};
