//! Signing keys as JSON.

use highwater_proto::{
    control,
    ids::SigningKeyId,
    limits::{SIGNING_KEY_LEAD_MS_MAX, TOKEN_LEEWAY_MS},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    refusal::{Result, invalid},
    shapes::{Id, SigningKeyRef, Timestamp},
};

/// What the service signs tokens with, without its private half.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SigningKey {
    /// Its id, and the `kid` of its tokens.
    pub id: SigningKeyRef,
    /// Its public half, as a JSON Web Key (RFC 7517, 8037).
    #[schema(value_type = Object)]
    pub public_jwk: Value,
    /// From when on it signs, until another one does.
    pub signs_from: Timestamp,
    /// Until when what it has signed is good, once it has a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_until: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// How the key that signs gets a successor.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// Time from now until the successor signs: long enough for everybody who checks tokens to have fetched it.
    #[serde(default = "lead_ms")]
    #[schema(minimum = 0, maximum = 86400000_u64, default = 600000)]
    pub lead_ms: u64,
}

/// Ten minutes: twice as long as the published set may be kept.
fn lead_ms() -> u64 {
    600_000
}

impl Default for Succession {
    fn default() -> Succession {
        Succession { lead_ms: lead_ms() }
    }
}

impl Succession {
    /// # Errors
    /// When it is too far away.
    pub fn check(&self) -> Result<()> {
        match self.lead_ms <= SIGNING_KEY_LEAD_MS_MAX {
            true => Ok(()),
            false => Err(invalid(format!(
                "`lead_ms` is at most {SIGNING_KEY_LEAD_MS_MAX}"
            ))),
        }
    }
}

/// A set of public keys (RFC 7517, section 5).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PublicKeys {
    /// The keys whose tokens are good, or will be.
    #[schema(value_type = Vec<Object>)]
    pub keys: Vec<Value>,
}

impl SigningKey {
    /// As it is shown.
    pub fn of(id: SigningKeyId, stored: &Stored<control::SigningKey>) -> SigningKey {
        SigningKey {
            id: Id(id),
            public_jwk: jwk_of(&stored.value),
            signs_from: Timestamp(stored.value.signs_from_ms),
            accepted_until: Timestamp::unless_zero(stored.value.accepted_until_ms),
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }
}

impl PublicKeys {
    /// Those of all keys.
    pub fn of<'a>(keys: impl Iterator<Item = &'a control::SigningKey>) -> PublicKeys {
        PublicKeys {
            keys: keys.map(jwk_of).collect(),
        }
    }
}

fn jwk_of(key: &control::SigningKey) -> Value {
    serde_json::from_str(&key.public_jwk).unwrap_or_default()
}

/// Time after the last moment in which a key could have signed, until nothing it signed is good.
pub const GRACE_MS: u64 = highwater_proto::limits::TOKEN_LIFETIME_MS_MAX + 2 * TOKEN_LEEWAY_MS;
