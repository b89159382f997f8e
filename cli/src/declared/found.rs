//! What is there: the tenant of a file, and what belongs to it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::document::{Document, Named, Project};
use crate::{
    admin::{Api, Collection, ISSUER, KEY, Kind, MEMBER, PROJECT, TENANT, TenantArgs},
    context::{Sources, Who},
    exit::Exit,
};

/// Where a tenant is.
pub struct Place {
    /// The control plane.
    pub api: Api,
    /// Its name, or its id.
    pub name: String,
    /// Its path, when it is there.
    pub path: Option<String>,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Found {
    /// The tenant, unless there is none.
    pub tenant: Option<Value>,
    /// Its members.
    pub members: Vec<Value>,
    /// Its projects, without those that are being deleted.
    pub projects: Vec<FoundProject>,
}

/// A project with what belongs to it, as far as it was asked for.
#[derive(Debug, Default)]
pub struct FoundProject {
    /// It itself.
    pub project: Value,
    /// Its topic policies.
    pub policies: Value,
    /// Its keys.
    pub keys: Vec<Value>,
    /// Its issuers.
    pub issuers: Vec<Value>,
}

impl Place {
    /// The tenant that is typed, or else the one of the file, or else the one that is meant anyway.
    ///
    /// # Errors
    /// When there is none, and the file does not name it by a name.
    pub async fn find(at: &TenantArgs, of_file: Option<&str>) -> anyhow::Result<Place> {
        let sources = Sources::read(&at.platform.context)?;
        let typed = at.tenant.tenant.as_deref();
        let name = match typed.or(of_file) {
            Some(name) => name.to_owned(),
            None => sources.tenant(&at.tenant)?,
        };
        let api = at.platform.open_as(&sources, Who::Administrator)?;
        let tenants = Collection::new(&api, "/v1", &TENANT);
        let path = match TENANT.is_id(&name) {
            true => Some(tenants.at(&name)),
            false => match tenants.named(&name).await? {
                Some(tenant) => Some(tenants.at(tenant["id"].as_str().unwrap_or_default())),
                None if of_file.is_some() => None,
                None => return Err(Exit::not_found(format!("there is no tenant `{name}`")).into()),
            },
        };
        Ok(Place { api, name, path })
    }
}

impl Found {
    /// Reads it; of projects that are not wanted only that they are there.
    pub async fn read(place: &Place, wants: impl Fn(&str) -> bool) -> anyhow::Result<Found> {
        let Some(path) = &place.path else {
            return Ok(Found::default());
        };
        let api = &place.api;
        let all =
            async |below: &str, kind: &'static Kind| Collection::new(api, below, kind).all().await;
        let tenant = api.get(path).await?.body;
        if tenant["state"] == "deleting" {
            anyhow::bail!("the tenant `{}` is being deleted", place.name);
        }
        let mut projects = Vec::new();
        for project in all(path, &PROJECT).await? {
            if project["state"] == "deleting" {
                continue;
            }
            let mut found = FoundProject {
                project,
                ..FoundProject::default()
            };
            if wants(found.name()) {
                let id = found.project["id"].as_str().unwrap_or_default();
                let below = Collection::new(api, path, &PROJECT).at(id);
                let mut policies = api.get(&format!("{below}/topic-policies")).await?.body;
                found.policies = policies["policies"].take();
                found.keys = all(&below, &KEY).await?;
                found.issuers = all(&below, &ISSUER).await?;
            }
            projects.push(found);
        }
        Ok(Found {
            tenant: Some(tenant),
            members: all(path, &MEMBER).await?,
            projects,
        })
    }

    /// As a file.
    ///
    /// # Errors
    /// When the control plane says more than is known here.
    pub fn document(&self) -> anyhow::Result<Document> {
        let tenant = self.tenant.as_ref().unwrap_or(&Value::Null);
        let mut document: Document = known(tenant, &["state", "labels", "quotas"], |members| {
            members.insert("version".into(), 1.into());
        })?;
        document.tenant = tenant["name"].as_str().map(str::to_owned);
        document.members = Some(named(&self.members, "subject", |member| {
            Ok(serde_json::from_value(member["role"].clone())?)
        })?);
        let projects = self
            .projects
            .iter()
            .map(|project| Ok((project.name().to_owned(), project.document()?)));
        document.projects = Some(Named(projects.collect::<anyhow::Result<_>>()?));
        Ok(document)
    }
}

impl FoundProject {
    /// Its name.
    pub fn name(&self) -> &str {
        self.project["name"].as_str().unwrap_or_default()
    }

    fn document(&self) -> anyhow::Result<Project> {
        let members = [
            "spread",
            "state",
            "expires_at",
            "origins",
            "labels",
            "quotas",
        ];
        let mut project: Project = known(&self.project, &members, never)?;
        project.policies = Some(serde_json::from_value(self.policies.clone())?);
        project.keys = Some(named(&self.keys, "name", |key| {
            known(key, &["disabled", "expires_at", "permissions"], never)
        })?);
        let of_issuer = [
            "issuer",
            "audiences",
            "jwks",
            "jwks_url",
            "permissions_max",
            "token_lifetime_ms_max",
        ];
        project.issuers = Some(named(&self.issuers, "name", |issuer| {
            known(issuer, &of_issuer, |_| ())
        })?);
        Ok(project)
    }
}

/// Those members of a document that a file may say.
fn known<T: DeserializeOwned>(
    document: &Value,
    names: &[&str],
    complete: impl FnOnce(&mut Map<String, Value>),
) -> anyhow::Result<T> {
    let member = |name: &&str| Some(((*name).to_owned(), document.get(name)?.clone()));
    let mut members: Map<String, Value> = names.iter().filter_map(member).collect();
    complete(&mut members);
    serde_json::from_value(members.into()).map_err(|error| {
        anyhow::anyhow!(
            "the control plane says what this version of the command does not know: {error}"
        )
    })
}

/// What has no end says so, so that the file makes it so elsewhere.
fn never(members: &mut Map<String, Value>) {
    members.entry("expires_at").or_insert("never".into());
}

fn named<T>(
    items: &[Value],
    name: &str,
    of: impl Fn(&Value) -> anyhow::Result<T>,
) -> anyhow::Result<Named<T>> {
    let items = items.iter().map(|item| {
        let name = item[name].as_str().unwrap_or_default();
        Ok((name.to_owned(), of(item)?))
    });
    Ok(Named(items.collect::<anyhow::Result<_>>()?))
}
