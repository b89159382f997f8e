//! API keys as JSON.

use std::collections::HashMap;

use highwater_proto::{
    control,
    ids::{KeyId, ProjectId},
    limits::TTL_MS_MAX,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    refusal::{Result, invalid},
    shapes::{
        Id, KeyRef, Patch, Permission, ProjectRef, Timestamp, check_name, check_permissions,
        expiry_ms, permissions_of, permissions_to,
    },
};

/// A long-lived credential, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyRef,
    /// The project that it opens.
    pub project: ProjectRef,
    /// Its name, which no other key of the project has.
    pub name: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// Whether nothing is let in with it.
    pub disabled: bool,
    /// The end of its text, to tell it from others.
    pub hint: String,
    /// When it opens nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Until when the secret that it had before is still good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<Timestamp>,
    /// When something was last let in with it, to the minute; missing as long as nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A key with its text, which is shown this once.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ApiKeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// What clients send: `hw_…`. It is not kept.
    pub secret: String,
}

/// A key to create.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// Its name, which no other key of the project has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it allows.
    #[schema(min_items = 1, max_items = 64)]
    pub permissions: Vec<Permission>,
    /// When it opens nothing any more.
    pub expires_at: Option<Timestamp>,
    /// The same, from now on.
    #[schema(minimum = 1)]
    pub expires_in_ms: Option<u64>,
}

/// What of a key can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    /// Its name, which no other key of the project has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it allows.
    #[schema(min_items = 1, max_items = 64)]
    pub permissions: Vec<Permission>,
    /// Whether nothing is let in with it.
    #[serde(default)]
    pub disabled: bool,
    /// When it opens nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// How a key gets another secret.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// For how long the secret that it has now stays good beside the new one.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2592000000_u64, default = 0)]
    pub overlap_ms: u64,
}

impl ApiKey {
    /// As it is shown.
    pub fn of(
        now_ms: u64,
        id: KeyId,
        project: ProjectId,
        stored: &Stored<control::ApiKey>,
    ) -> ApiKey {
        let settings = ApiKeySettings::of(&stored.value);
        let previous = Timestamp::unless_zero(stored.value.previous_until_ms);
        ApiKey {
            id: Id(id),
            project: Id(project),
            name: settings.name,
            permissions: settings.permissions,
            disabled: settings.disabled,
            hint: stored.value.hint.clone(),
            expires_at: settings.expires_at,
            previous_secret_until: previous.filter(|until| until.0 > now_ms),
            last_used_at: None,
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }

    /// With when it was last used.
    pub fn used(self, uses: &HashMap<KeyId, u64>) -> ApiKey {
        ApiKey {
            last_used_at: uses.get(&self.id.0).map(|used_ms| Timestamp(*used_ms)),
            ..self
        }
    }
}

impl NewApiKey {
    /// Its settings at first.
    ///
    /// # Errors
    /// When it would have expired already.
    pub fn settings(&self, now_ms: u64) -> Result<ApiKeySettings> {
        let expires_at_ms = expiry_ms(now_ms, self.expires_at, self.expires_in_ms, TTL_MS_MAX)?;
        Ok(ApiKeySettings {
            name: self.name.clone(),
            permissions: self.permissions.clone(),
            disabled: false,
            expires_at: Timestamp::unless_zero(expires_at_ms),
        })
    }
}

/// What of them is to change.
pub type ApiKeyPatch = Patch<ApiKeySettings>;

impl ApiKeySettings {
    /// Those of a key.
    pub fn of(key: &control::ApiKey) -> ApiKeySettings {
        ApiKeySettings {
            name: key.name.clone(),
            permissions: permissions_of(&key.permissions),
            disabled: key.is_disabled,
            expires_at: Timestamp::unless_zero(key.expires_at_ms),
        }
    }

    /// # Errors
    /// Which setting cannot be.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        if self.permissions.is_empty() {
            return Err(invalid("`permissions` has at least one"));
        }
        check_permissions("permissions", &self.permissions)
    }

    /// Puts them in the place of a key's.
    pub fn put_into(&self, key: &mut control::ApiKey) {
        key.name = self.name.clone();
        key.permissions = permissions_to(&self.permissions);
        key.is_disabled = self.disabled;
        key.expires_at_ms = self.expires_at.map_or(0, |at| at.0);
    }
}
