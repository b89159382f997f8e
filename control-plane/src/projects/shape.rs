//! Projects as JSON.

use highwater_proto::{
    control,
    ids::{ProjectId, TenantId},
    limits::PROJECT_LIFETIME_MS_MAX,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    quotas::Quotas,
    refusal::Result,
    shapes::{
        Id, Labels, Patch, ProjectRef, State, TenantRef, Timestamp, check_labels, check_name,
        check_origins, expiry_ms,
    },
};

/// An isolated namespace of topics, keys and connections.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectRef,
    /// The tenant it belongs to.
    pub tenant: TenantRef,
    /// Its name, which no other project of the tenant has.
    pub name: String,
    /// Whether it may be used.
    pub state: State,
    /// Over how many shards its topics are spread.
    pub spread: u32,
    /// Web pages that may use it, by their origins.
    pub origins: Vec<String>,
    /// What it may use.
    pub quotas: Quotas,
    /// When it is deleted by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What its tenant writes beside it.
    #[schema(inline)]
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A project to create.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Its name, which no other project of the tenant has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Over how many shards its topics are spread. It never changes: more allow more throughput, and make
    /// reading by filters dearer.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 64, default = 1)]
    pub spread: u32,
    /// Web pages that may use it: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, `*`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// What it may use.
    #[serde(default)]
    pub quotas: Quotas,
    /// When it is deleted by itself.
    pub expires_at: Option<Timestamp>,
    /// The same, from now on.
    #[schema(minimum = 1)]
    pub expires_in_ms: Option<u64>,
    /// What its tenant writes beside it, for people and programs.
    #[serde(default)]
    #[schema(inline)]
    pub labels: Labels,
}

/// What of a project can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSettings {
    /// Its name, which no other project of the tenant has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Whether it may be used: `active` or `suspended`.
    #[serde(default)]
    pub state: State,
    /// Web pages that may use it, by their origins.
    #[serde(default)]
    pub origins: Vec<String>,
    /// What it may use.
    #[serde(default)]
    pub quotas: Quotas,
    /// When it is deleted by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What its tenant writes beside it, for people and programs.
    #[serde(default)]
    #[schema(inline)]
    pub labels: Labels,
}

fn one() -> u32 {
    1
}

impl Project {
    /// As it is shown.
    pub fn of(id: ProjectId, tenant: TenantId, stored: &Stored<control::Project>) -> Project {
        let settings = ProjectSettings::of(&stored.value);
        Project {
            id: Id(id),
            tenant: Id(tenant),
            name: settings.name,
            state: settings.state,
            spread: stored.value.spread,
            origins: settings.origins,
            quotas: settings.quotas,
            expires_at: settings.expires_at,
            labels: settings.labels,
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }
}

impl NewProject {
    /// Its settings at first.
    ///
    /// # Errors
    /// When it would not live, or live too long.
    pub fn settings(&self, now_ms: u64) -> Result<ProjectSettings> {
        let expires_at_ms = expiry_ms(
            now_ms,
            self.expires_at,
            self.expires_in_ms,
            PROJECT_LIFETIME_MS_MAX,
        )?;
        Ok(ProjectSettings {
            name: self.name.clone(),
            state: State::Active,
            origins: self.origins.clone(),
            quotas: self.quotas,
            expires_at: Timestamp::unless_zero(expires_at_ms),
            labels: self.labels.clone(),
        })
    }
}

/// What of them is to change.
pub type ProjectPatch = Patch<ProjectSettings>;

impl ProjectSettings {
    /// Those of a project.
    pub fn of(project: &control::Project) -> ProjectSettings {
        ProjectSettings {
            name: project.name.clone(),
            state: project.state().into(),
            origins: project.origins.clone(),
            quotas: Quotas::from(&project.quotas.unwrap_or_default()),
            expires_at: Timestamp::unless_zero(project.expires_at_ms),
            labels: project.labels.clone(),
        }
    }

    /// # Errors
    /// Which setting cannot be.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        self.state.check_settable()?;
        check_origins(&self.origins)?;
        self.quotas.check()?;
        check_labels(&self.labels)
    }

    /// Puts them in the place of a project's.
    pub fn put_into(&self, project: &mut control::Project) {
        project.name = self.name.clone();
        project.set_state(self.state.into());
        project.origins = self.origins.clone();
        project.quotas = Some((&self.quotas).into());
        project.expires_at_ms = self.expires_at.map_or(0, |at| at.0);
        project.labels = self.labels.clone();
    }
}
