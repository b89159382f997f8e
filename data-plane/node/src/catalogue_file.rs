//! The catalogue as a TOML file: tenants, projects, API keys and policies.
//!
//! It stands in for the control plane: what it says goes through the same authentication,
//! permission and policy code. Secrets are not in it, only their keyed hashes.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use highwater_broker::catalogue::{
    ApiKey, Catalogue, Operation, Permissions, Policy, Project, Retention, SecretHash,
    place_project,
};
use highwater_broker::{from::parse_time_ms, handle::TopicPolicy, origin::OriginPattern, system};
use highwater_proto::{
    ids::{KeyId, ProjectId, ShardId, TenantId},
    limits::{FEED_SHARDS_MAX, ORIGINS_MAX, PAYLOAD_BYTES_MAX},
    names::TopicFilter,
};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, parse_table};

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogueFile {
    /// Customers.
    pub tenants: Vec<TenantEntry>,
    /// Their projects.
    pub projects: Vec<ProjectEntry>,
    /// Credentials.
    pub keys: Vec<KeyEntry>,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantEntry {
    /// `ten_…`
    pub id: String,
    /// For people.
    pub name: String,
}

/// An isolated namespace of topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectEntry {
    /// `prj_…`
    pub id: String,
    /// Its tenant's id.
    pub tenant: String,
    /// For people.
    pub name: String,
    /// Over how many shards its topics are spread. Never change it while there is data: it says
    /// where a topic lies.
    #[serde(default = "one")]
    pub spread: u32,
    /// Largest payload of one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes_max: Option<usize>,
    /// Web pages that may use it, by their origins: `https://app.example.com`, `https://*.example.com`,
    /// `http://localhost:*`, or `*` for all. Those of the nodes' own addresses always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// The first whose filter matches a topic decides how it is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyEntry>,
}

fn one() -> u32 {
    1
}

/// How topics are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEntry {
    /// Which topics.
    pub filter: String,
    /// Keep records this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Keep this many bytes of a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Keep this many records of a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_records: Option<u64>,
    /// Keep only the newest record of each key.
    pub last_value: bool,
    /// Refuse a publish rather than create the topic.
    pub must_exist: bool,
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// `key_…`
    pub id: String,
    /// Its project's id.
    pub project: String,
    /// Keyed hash of the secret, as `highwater key` prints it.
    pub secret_hash: String,
    /// When it opens nothing any more: an RFC 3339 time, or milliseconds since the Unix epoch. Without it
    /// the key is good until it is taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What it allows.
    pub permissions: Vec<PermissionEntry>,
}

/// Operations × a topic filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionEntry {
    /// `publish`, `subscribe`, `manage`.
    pub operations: Vec<String>,
    /// On which topics.
    pub topics: String,
}

impl CatalogueFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or is not such a file.
    pub fn read(path: &Path) -> Result<CatalogueFile, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let table = parse_table(path, &text)?;
        table.try_into().map_err(|e: toml::de::Error| {
            invalid(path, e.to_string().trim_end().replace('\n', " "))
        })
    }

    /// Compiles it for a cluster of so many shards.
    ///
    /// # Errors
    /// Which entry is wrong, and why.
    pub fn compile(&self, shards: u32) -> Result<Catalogue, String> {
        let mut tenants = HashSet::new();
        for tenant in &self.tenants {
            let id: TenantId = parse(&tenant.id, "tenant")?;
            unique(tenants.insert(id), &tenant.id)?;
        }
        let mut projects = HashMap::new();
        for entry in &self.projects {
            let project = entry.compile(shards, &tenants)?;
            unique(projects.insert(project.id, project).is_none(), &entry.id)?;
        }
        let mut keys = HashMap::new();
        for entry in &self.keys {
            let key = entry.compile(|project| projects.contains_key(&project))?;
            unique(keys.insert(key.id, key).is_none(), &entry.id)?;
        }
        Ok(Catalogue::new(projects.into_values(), keys.into_values()))
    }
}

fn invalid(path: &Path, message: String) -> ConfigError {
    ConfigError::Invalid {
        path: path.to_owned(),
        message,
    }
}

fn parse<T: std::str::FromStr>(id: &str, of: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    id.parse().map_err(|e| format!("{of} `{id}`: {e}"))
}

fn unique(is_new: bool, id: &str) -> Result<(), String> {
    match is_new {
        true => Ok(()),
        false => Err(format!("`{id}` is there twice")),
    }
}

impl ProjectEntry {
    fn compile(&self, shards: u32, tenants: &HashSet<TenantId>) -> Result<Project, String> {
        let id: ProjectId = parse(&self.id, "project")?;
        let at = |message: String| format!("project `{}`: {message}", self.id);
        if id == system::PROJECT {
            return Err(at("this is the system's own".into()));
        }
        let tenant: TenantId = parse(&self.tenant, "tenant").map_err(at)?;
        if !tenants.contains(&tenant) {
            return Err(at(format!("there is no tenant `{tenant}`")));
        }
        // A cursor of filters holds a position in each of the project's shards.
        let spread_max = shards.min(FEED_SHARDS_MAX as u32);
        if self.spread == 0 || self.spread > spread_max {
            return Err(at(format!(
                "spread: from 1 to {spread_max} in a cluster of {shards} shards"
            )));
        }
        let bytes = self.payload_bytes_max.unwrap_or(PAYLOAD_BYTES_MAX);
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(at(format!(
                "payload_bytes_max: at most {PAYLOAD_BYTES_MAX}"
            )));
        }
        let placed: Vec<ShardId> = place_project(id, self.spread as usize, shards);
        let mut project = Project::new(id, tenant, &self.name, placed);
        project.payload_bytes_max = bytes;
        if self.origins.len() > ORIGINS_MAX {
            return Err(at(format!("origins: at most {ORIGINS_MAX}")));
        }
        for origin in &self.origins {
            let pattern = OriginPattern::try_from(origin.as_str());
            let wrong = |e| at(format!("origins: `{origin}`: {e}"));
            project.origins.push(pattern.map_err(wrong)?);
        }
        for policy in &self.policies {
            project.policies.push(policy.compile().map_err(at)?);
        }
        Ok(project)
    }
}

impl PolicyEntry {
    fn compile(&self) -> Result<(TopicFilter, Policy), String> {
        let policy = Policy {
            topic: TopicPolicy {
                last_value: self.last_value,
                must_exist: self.must_exist,
            },
            retention: Retention {
                age_ms: self.retention_ms,
                bytes: self.retention_bytes,
                records: self.retention_records,
            },
        };
        Ok((filter(&self.filter)?, policy))
    }
}

impl KeyEntry {
    fn compile(&self, is_project: impl Fn(ProjectId) -> bool) -> Result<ApiKey, String> {
        let id: KeyId = parse(&self.id, "key")?;
        let at = |message: String| format!("key `{}`: {message}", self.id);
        let project: ProjectId = parse(&self.project, "project").map_err(at)?;
        if !is_project(project) {
            return Err(at(format!("there is no project `{project}`")));
        }
        let hash = SecretHash::from_hex(&self.secret_hash);
        let hash = hash.ok_or_else(|| at("secret_hash: 64 hexadecimal digits".into()))?;
        let expires_at_ms = self.expires_at.as_deref().map(|time| {
            let wrong = || at("expires_at: an RFC 3339 time, or milliseconds".into());
            parse_time_ms(time).ok_or_else(wrong)
        });
        let grants = self.permissions.iter().map(PermissionEntry::compile);
        let grants: Vec<_> = grants.collect::<Result<_, _>>().map_err(at)?;
        Ok(ApiKey {
            id,
            project,
            secret_hash: hash,
            permissions: Arc::new(Permissions::new(grants)),
            expires_at_ms: expires_at_ms.transpose()?,
        })
    }
}

impl PermissionEntry {
    fn compile(&self) -> Result<(Vec<Operation>, TopicFilter), String> {
        let operation = |name: &String| {
            Operation::from_name(name)
                .ok_or_else(|| format!("`{name}` is not publish, subscribe or manage"))
        };
        let operations = self.operations.iter().map(operation);
        Ok((operations.collect::<Result<_, _>>()?, filter(&self.topics)?))
    }
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::try_from(text).map_err(|e| format!("filter `{text}`: {e}"))
}

/// Looks again at the file now and then.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    shards: u32,
    seen: Option<(SystemTime, u64)>,
}

impl Watch {
    /// A watch over a file, which nobody has looked at yet.
    pub fn new(path: PathBuf, shards: u32) -> Watch {
        Watch {
            path,
            shards,
            seen: None,
        }
    }

    /// The catalogue when the file is another one than at the last look, or when `anyway`.
    ///
    /// # Errors
    /// What is wrong with the new file. It is looked at again only when it has changed again.
    pub fn look(&mut self, anyway: bool) -> Result<Option<Catalogue>, ConfigError> {
        // Size and time of change come without reading; a file that is replaced changes both or one.
        let stamp = fs::metadata(&self.path).and_then(|m| Ok((m.modified()?, m.len())));
        let stamp = stamp.map_err(|source| ConfigError::Read {
            path: self.path.clone(),
            source,
        })?;
        if self.seen == Some(stamp) && !anyway {
            return Ok(None);
        }
        self.seen = Some(stamp);
        let catalogue = CatalogueFile::read(&self.path)?.compile(self.shards);
        catalogue
            .map(Some)
            .map_err(|message| invalid(&self.path, message))
    }
}

#[cfg(test)]
mod tests;
