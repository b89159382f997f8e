//! Members as JSON.

use highwater_proto::{
    control,
    ids::{AdministratorId, TenantId},
    limits::MEMBER_SUBJECT_BYTES_MAX,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    refusal::{Result, invalid},
    shapes::{Id, MemberRef, Patch, TenantRef, Timestamp},
};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// And change what is in projects, keys included.
    Editor,
    /// And the tenant's name and labels, and who its members are.
    Owner,
}

/// Who may administer a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Member {
    /// Its id.
    pub id: MemberRef,
    /// The tenant.
    pub tenant: TenantRef,
    /// What the identity provider calls the person or program.
    pub subject: String,
    /// What it may do.
    pub role: Role,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its role last changed.
    pub updated_at: Timestamp,
}

/// A member to add.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// `sub` of its tokens, or an email address that the identity provider has verified; letter for letter.
    #[schema(min_length = 1, max_length = 256, example = "ann@example.com")]
    pub subject: String,
    /// What it may do.
    pub role: Role,
}

/// What of a member can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberSettings {
    /// What it may do.
    pub role: Role,
}

/// What of them is to change.
pub type MemberPatch = Patch<MemberSettings>;

impl Member {
    /// As it is shown.
    pub fn of(id: AdministratorId, tenant: TenantId, stored: &Stored<control::Member>) -> Member {
        Member {
            id: Id(id),
            tenant: Id(tenant),
            subject: stored.value.subject.clone(),
            role: stored.value.role().into(),
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }
}

impl NewMember {
    /// # Errors
    /// When nobody can have this subject.
    pub fn check(&self) -> Result<()> {
        let subject = &self.subject;
        let is_subject = !subject.is_empty()
            && subject.len() <= MEMBER_SUBJECT_BYTES_MAX
            && subject.trim() == subject
            && !subject.chars().any(char::is_control);
        match is_subject {
            true => Ok(()),
            false => Err(invalid(format!(
                "`subject` has from 1 to {MEMBER_SUBJECT_BYTES_MAX} bytes, no control characters, and no space at its ends"
            ))),
        }
    }
}

/// A role of a later version of the service is shown as the least one.
impl From<control::Role> for Role {
    fn from(role: control::Role) -> Role {
        match role {
            control::Role::Owner => Role::Owner,
            control::Role::Editor => Role::Editor,
            control::Role::Viewer | control::Role::Unspecified => Role::Viewer,
        }
    }
}

impl From<Role> for control::Role {
    fn from(role: Role) -> control::Role {
        match role {
            Role::Viewer => control::Role::Viewer,
            Role::Editor => control::Role::Editor,
            Role::Owner => control::Role::Owner,
        }
    }
}

/// As it is called.
pub fn role_name(role: control::Role) -> &'static str {
    match Role::from(role) {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Owner => "owner",
    }
}
