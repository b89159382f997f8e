//! Tenants as JSON.

use highwater_proto::{control, ids::TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    quotas::Quotas,
    refusal::Result,
    shapes::{Id, Labels, Patch, State, TenantRef, Timestamp, check_labels, check_name},
};

/// A customer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Tenant {
    /// Its id.
    pub id: TenantRef,
    /// Its name, which no other tenant has.
    pub name: String,
    /// Whether it may be used.
    pub state: State,
    /// What all its projects may use together.
    pub quotas: Quotas,
    /// What its owner writes beside it.
    #[schema(inline)]
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What of a tenant can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// Its name, which no other tenant has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Whether it may be used: `active` or `suspended`. For operators.
    #[serde(default)]
    pub state: State,
    /// What all its projects may use together. For operators.
    #[serde(default)]
    pub quotas: Quotas,
    /// What its owner writes beside it, for people and programs.
    #[serde(default)]
    #[schema(inline)]
    pub labels: Labels,
}

impl Tenant {
    /// As it is shown.
    pub fn of(id: TenantId, stored: &Stored<control::Tenant>) -> Tenant {
        let settings = TenantSettings::of(&stored.value);
        Tenant {
            id: Id(id),
            name: settings.name,
            state: settings.state,
            quotas: settings.quotas,
            labels: settings.labels,
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }
}

/// What of them is to change.
pub type TenantPatch = Patch<TenantSettings>;

impl TenantSettings {
    /// Those of a tenant.
    pub fn of(tenant: &control::Tenant) -> TenantSettings {
        TenantSettings {
            name: tenant.name.clone(),
            state: tenant.state().into(),
            quotas: Quotas::from(&tenant.quotas.unwrap_or_default()),
            labels: tenant.labels.clone(),
        }
    }

    /// # Errors
    /// Which setting cannot be.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        self.state.check_settable()?;
        self.quotas.check()?;
        check_labels(&self.labels)
    }

    /// As it is stored.
    pub fn to_stored(&self) -> control::Tenant {
        control::Tenant {
            name: self.name.clone(),
            state: control::State::from(self.state).into(),
            quotas: Some((&self.quotas).into()),
            labels: self.labels.clone(),
        }
    }
}
