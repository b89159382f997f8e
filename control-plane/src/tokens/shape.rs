//! Tokens as JSON.

use highwater_credentials::token::Grant;
use highwater_proto::{
    control,
    ids::{ProjectId, TokenId},
    limits::{TOKEN_LIFETIME_MS_DEFAULT, TOKEN_LIFETIME_MS_MAX, TOKEN_SUBJECT_BYTES_MAX},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    refusal::{Result, invalid},
    shapes::{Id, Permission, ProjectRef, Timestamp, TokenRef, check_permissions, permissions_to},
};

/// A token that was minted. It is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Token {
    /// Its id: `jti`.
    pub id: TokenRef,
    /// What clients send, where they would send an API key.
    pub token: String,
    /// What it is, without its text.
    #[serde(flatten)]
    pub minted: Minted,
}

/// What was minted.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Minted {
    /// The project that it opens.
    pub project: ProjectRef,
    /// Whom it is about: `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token to mint.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it allows; `${sub}` in a filter stands for the subject. When it is minted with an API key: no more than
    /// the key, and the same as the key, if it is not said.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub permissions: Option<Vec<Permission>>,
    /// Whom it is about: a user or device of yours. It can be revoked by that.
    #[schema(min_length = 1, max_length = 256)]
    pub subject: Option<String>,
    /// How long it is good, rounded up to seconds.
    #[serde(default = "lifetime_ms")]
    #[schema(minimum = 1, maximum = 86400000_u64, default = 900000)]
    pub lifetime_ms: u64,
}

fn lifetime_ms() -> u64 {
    TOKEN_LIFETIME_MS_DEFAULT
}

impl NewToken {
    /// What it is to allow, in full.
    ///
    /// # Errors
    /// Which member cannot be.
    pub fn check(&self, of_key: Option<&[Permission]>) -> Result<Vec<Permission>> {
        let said = self.permissions.as_deref().or(of_key);
        let said = said.filter(|permissions| !permissions.is_empty());
        let permissions = said.ok_or_else(|| invalid("`permissions` has at least one"))?;
        check_permissions("permissions", permissions)?;
        let subject = self.subject.as_deref();
        if subject.is_some_and(|s| !(1..=TOKEN_SUBJECT_BYTES_MAX).contains(&s.len())) {
            return Err(invalid(format!(
                "`subject` has from 1 to {TOKEN_SUBJECT_BYTES_MAX} bytes"
            )));
        }
        if !(1..=TOKEN_LIFETIME_MS_MAX).contains(&self.lifetime_ms) {
            return Err(invalid(format!(
                "`lifetime_ms` is from 1 to {TOKEN_LIFETIME_MS_MAX}"
            )));
        }
        for (index, grant) in grants(permissions).iter().enumerate() {
            if grant.filter(subject).is_none() {
                return Err(invalid(format!(
                    "`permissions[{index}].topics` needs a `subject` that can be a level of a topic, or a part of one"
                )));
            }
        }
        Ok(permissions.to_vec())
    }
}

/// As tokens have them.
pub fn grants(permissions: &[Permission]) -> Vec<Grant> {
    let grant = |permission: control::Permission| Grant {
        operations: permission.operations,
        topics: permission.topics,
    };
    permissions_to(permissions).into_iter().map(grant).collect()
}

impl Minted {
    /// Of a project, at a time.
    pub fn new(
        project: ProjectId,
        new: &NewToken,
        permissions: Vec<Permission>,
        ms: u64,
    ) -> Minted {
        let (issued_s, lifetime_s) = (ms / 1_000, new.lifetime_ms.div_ceil(1_000));
        Minted {
            project: Id(project),
            subject: new.subject.clone(),
            permissions,
            issued_at: Timestamp(issued_s * 1_000),
            expires_at: Timestamp((issued_s + lifetime_s) * 1_000),
        }
    }

    /// With its text.
    pub fn signed(self, id: TokenId, token: String) -> Token {
        Token {
            id: Id(id),
            token,
            minted: self,
        }
    }
}
