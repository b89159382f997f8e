//! The catalogue in memory: every document, found by its id, by what it belongs to and by its name.
//!
//! It only holds: what may be written is decided by the rules of each resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highwater_proto::{
    control::{
        ApiKey, Document, Issuer, Member, Project, Request, Revocation, Role, SigningKey, Tenant,
        document::Resource,
    },
    ids::{ProjectId, TenantId},
};

mod collection;
mod kinds;

pub use collection::{Collection, Kept, Stored};

/// All documents at one version.
#[derive(Debug, Default)]
pub struct Catalogue {
    version: u64,
    /// Customers.
    pub tenants: Collection<Tenant>,
    /// Their projects.
    pub projects: Collection<Project>,
    /// Credentials of projects.
    pub keys: Collection<ApiKey>,
    /// Who else signs tokens for projects.
    pub issuers: Collection<Issuer>,
    /// Who may administer tenants.
    pub members: Collection<Member>,
    /// Tokens that are good no more.
    pub revocations: Collection<Revocation>,
    /// What tokens are signed with.
    pub signing_keys: Collection<SigningKey>,
    /// Answers to requests that may be repeated.
    pub requests: Collection<Request>,
    /// The tenants that each subject may administer.
    memberships: BTreeMap<String, BTreeSet<TenantId>>,
    /// Projects that each tenant has had, and over how many shards each was spread.
    gone: BTreeMap<TenantId, BTreeMap<ProjectId, u32>>,
}

/// How a document that was to be written looks beside the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// It is the one that is there.
    Same,
    /// There is the one of before, or none.
    Unwritten,
    /// There is one that is newer than it could be.
    Overwritten,
}

impl Catalogue {
    /// Up to where the log of changes has been read.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes what was committed since, whole commits only, and with it comes to `version`.
    pub fn apply(&mut self, documents: Vec<Document>, version: u64) {
        for document in documents {
            self.put(document);
        }
        self.version = self.version.max(version);
    }

    fn put(&mut self, document: Document) {
        let Document { id, resource, .. } = document;
        let at = Stored {
            version: document.version,
            created_at_ms: document.created_at_ms,
            updated_at_ms: document.updated_at_ms,
            value: (),
        };
        self.forget_member(&id);
        match resource {
            Some(Resource::Deleted(remains)) => {
                self.remove(&id);
                if let (Ok(project), Ok(tenant)) = (id.parse(), remains.tenant.parse()) {
                    let gone = self.gone.entry(tenant).or_default();
                    gone.insert(project, remains.spread);
                }
            }
            Some(Resource::Tenant(value)) => self.tenants.insert(&id, at.with(value)),
            Some(Resource::Project(value)) => self.projects.insert(&id, at.with(value)),
            Some(Resource::ApiKey(value)) => self.keys.insert(&id, at.with(value)),
            Some(Resource::Issuer(value)) => self.issuers.insert(&id, at.with(value)),
            Some(Resource::SigningKey(value)) => self.signing_keys.insert(&id, at.with(value)),
            Some(Resource::Revocation(value)) => self.revocations.insert(&id, at.with(value)),
            Some(Resource::Request(value)) => self.requests.insert(&id, at.with(value)),
            Some(Resource::Member(value)) => {
                if let Some(tenant) = value.parent() {
                    let tenants = self.memberships.entry(value.subject.clone()).or_default();
                    tenants.insert(tenant);
                }
                self.members.insert(&id, at.with(value));
            }
            // Of a later version of the service, which knows what to do with it.
            None => {}
        }
    }

    /// An id says of which kind it is, so only one of them knows it.
    fn remove(&mut self, id: &str) {
        self.tenants.remove(id);
        self.projects.remove(id);
        self.keys.remove(id);
        self.issuers.remove(id);
        self.members.remove(id);
        self.revocations.remove(id);
        self.signing_keys.remove(id);
        self.requests.remove(id);
    }

    fn forget_member(&mut self, id: &str) {
        let Some(member) = id.parse().ok().and_then(|id| self.members.get(id)) else {
            return;
        };
        let (Some(tenant), subject) = (member.value.parent(), &member.value.subject) else {
            return;
        };
        if let Some(tenants) = self.memberships.get_mut(subject) {
            tenants.remove(&tenant);
            if tenants.is_empty() {
                self.memberships.remove(subject);
            }
        }
    }

    /// What a subject may do in a tenant.
    pub fn role(&self, tenant: TenantId, subject: &str) -> Option<Role> {
        let member = self.members.named(tenant, subject)?;
        match member.1.value.role() {
            Role::Unspecified => None,
            role => Some(role),
        }
    }

    /// The tenants that a subject may administer.
    pub fn tenants_of(&self, subject: &str) -> impl Iterator<Item = TenantId> {
        self.memberships.get(subject).into_iter().flatten().copied()
    }

    /// Projects that a tenant has had, and over how many shards each was spread.
    pub fn gone_projects(&self, tenant: TenantId) -> impl Iterator<Item = (ProjectId, u32)> {
        let gone = self.gone.get(&tenant).into_iter().flatten();
        gone.map(|(id, spread)| (*id, *spread))
    }

    /// How a document that was to be written to the catalogue at `version` looks beside what is there now.
    pub fn beside(&self, written: &Document, version: u64) -> Beside {
        let there = self.stored(&written.id);
        match (there, &written.resource) {
            (None, Some(Resource::Deleted(_))) => Beside::Same,
            (None, _) => Beside::Unwritten,
            (Some(there), _) if there.version <= version => Beside::Unwritten,
            (Some(there), resource) => {
                let is_same = Some(&there.value) == resource.as_ref()
                    && there.updated_at_ms == written.updated_at_ms;
                match is_same {
                    true => Beside::Same,
                    false => Beside::Overwritten,
                }
            }
        }
    }

    fn stored(&self, id: &str) -> Option<Stored<Resource>> {
        fn find<K: Kept>(
            collection: &Collection<K>,
            id: &str,
            resource: fn(K) -> Resource,
        ) -> Option<Stored<Resource>> {
            let stored = collection.get(id.parse().ok()?)?;
            Some(stored.with(resource(stored.value.clone())))
        }
        find(&self.tenants, id, Resource::Tenant)
            .or_else(|| find(&self.projects, id, Resource::Project))
            .or_else(|| find(&self.keys, id, Resource::ApiKey))
            .or_else(|| find(&self.issuers, id, Resource::Issuer))
            .or_else(|| find(&self.members, id, Resource::Member))
            .or_else(|| find(&self.revocations, id, Resource::Revocation))
            .or_else(|| find(&self.signing_keys, id, Resource::SigningKey))
            .or_else(|| find(&self.requests, id, Resource::Request))
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.tenants.len()
            + self.projects.len()
            + self.keys.len()
            + self.issuers.len()
            + self.members.len()
            + self.revocations.len()
            + self.signing_keys.len()
            + self.requests.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A project of a tenant. One of another tenant's is not there.
    pub fn project(&self, tenant: TenantId, id: ProjectId) -> Option<&Arc<Stored<Project>>> {
        let project = self.projects.get(id)?;
        (project.value.parent() == Some(tenant)).then_some(project)
    }
}

#[cfg(test)]
mod tests;
