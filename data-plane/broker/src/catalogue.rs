//! Who may do what, and how topics are kept: what the control plane has set up, compiled for lookup.
//!
//! The catalogue is a value. Whoever learns of a change makes a changed copy and swaps it in whole, so a
//! request sees one state of it from beginning to end. It comes from [`documents`], which every node reads from
//! its own replica of the meta group's log ([`follower`]): no other node is asked.
//!
//! What cannot be understood opens nothing: a key without its project, a project without its tenant, a
//! document of a newer release.
//!
//! Reading order: `project.rs`, `permissions.rs`, `principal.rs`, `tokens.rs`, `documents.rs`, `follower.rs`.

pub mod documents;
pub mod follower;
mod permissions;
mod principal;
mod project;
mod table;
pub mod tokens;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use highwater_credentials::{KeyHasher, SecretHash};
use highwater_proto::{
    ErrorCode,
    ids::{IssuerId, KeyId, ProjectId, RevocationId, SigningKeyId, TenantId},
    limits::KEY_USE_MS,
};

pub use self::{
    permissions::{Operation, Permissions},
    principal::{Credential, Principal},
    project::{Policy, Project, Quotas, Retention, State, place_project},
};
use self::{
    table::Table,
    tokens::{Issuer, Revocation, ServiceKey, Token, Trust},
};
use crate::{
    quota::Usage,
    refusal::{Refusal, Result},
    system,
};

/// All tenants, projects and keys. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    tenants: Table<TenantId, Arc<Tenant>>,
    projects: Table<ProjectId, Arc<Project>>,
    keys: Table<KeyId, Arc<ApiKey>>,
    issuers: Table<IssuerId, Arc<Issuer>>,
    service_keys: Table<SigningKeyId, Arc<ServiceKey>>,
    revocations: Table<RevocationId, Arc<Revocation>>,
    /// The issuers and revocations of each project.
    trust: Table<ProjectId, Arc<Trust>>,
}

/// A customer.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Whether its projects may be used.
    pub state: State,
    /// What they may use together.
    pub quotas: Quotas,
    /// What they use of that on this node.
    pub usage: Arc<Usage>,
}

/// A long-lived credential, without its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id, the public half.
    pub id: KeyId,
    /// The project it opens.
    pub project: ProjectId,
    /// Keyed hash of the secret half.
    pub secret_hash: SecretHash,
    /// The hash of the secret it had before, and until when that one is good, in milliseconds since the Unix
    /// epoch.
    pub previous: Option<(SecretHash, u64)>,
    /// What it allows.
    pub permissions: Arc<Permissions>,
    /// When it opens nothing any more, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// When it was last taken note of that it was used, on this node.
    pub used_at_ms: Arc<AtomicU64>,
}

impl ApiKey {
    /// Whether it is to be taken note of that it is used now.
    fn is_used(&self, now_ms: u64) -> bool {
        let before = self.used_at_ms.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        now_ms >= before.saturating_add(KEY_USE_MS)
            && self
                .used_at_ms
                .compare_exchange(before, now_ms, order, order)
                .is_ok()
    }

    /// Until when this secret opens it: nothing when it never did, no time when for good.
    fn opens_until(&self, secret_hash: SecretHash) -> Option<Option<u64>> {
        // Both are compared, so that it takes as long whichever it is.
        let is_current = self.secret_hash == secret_hash;
        let previous = self.previous.filter(|(hash, _)| *hash == secret_hash);
        let ends: [Option<u64>; 2] = [self.expires_at_ms, previous.map(|(_, until)| until)];
        match (is_current, previous) {
            (true, _) => Some(self.expires_at_ms),
            (false, Some(_)) => Some(ends.into_iter().flatten().min()),
            (false, None) => None,
        }
    }
}

impl Catalogue {
    /// A catalogue of these projects, of tenants that may use them, and keys. Keys of unknown projects open
    /// nothing.
    pub fn new(
        projects: impl IntoIterator<Item = Project>,
        keys: impl IntoIterator<Item = ApiKey>,
    ) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for project in projects {
            catalogue.put_tenant(Tenant {
                id: project.tenant,
                state: State::Active,
                quotas: Quotas::default(),
                usage: Usage::of_tenant(&Quotas::default()),
            });
            catalogue.put_project(project);
        }
        for key in keys {
            catalogue.keys.insert(key.id, Arc::new(key));
        }
        catalogue
    }

    /// What is used goes on to be counted as before.
    fn put_tenant(&mut self, mut tenant: Tenant) {
        if let Some(before) = self.tenants.get(&tenant.id) {
            tenant.usage = before.usage.clone();
        }
        tenant.usage.set_quotas(&tenant.quotas);
        self.tenants.insert(tenant.id, Arc::new(tenant));
    }

    fn put_project(&mut self, mut project: Project) {
        assert!(!system::is_own(project.id), "no key opens the system");
        let before = self.projects.get(&project.id);
        project.usage = match before.filter(|before| before.tenant == project.tenant) {
            Some(before) => before.usage.clone(),
            None => {
                let tenant = self.tenants.get(&project.tenant);
                let tenant = tenant.map(|tenant| tenant.usage.clone());
                Usage::of_project(&project.quotas, tenant)
            }
        };
        project.usage.set_quotas(&project.quotas);
        self.projects.insert(project.id, Arc::new(project));
    }

    /// What every tenant and project uses on this node, with the bytes of its id.
    pub fn usages(&self) -> impl Iterator<Item = (&[u8; 16], &Usage)> {
        let tenants = self.tenants.values();
        let tenants = tenants.map(|tenant| (tenant.id.as_bytes(), &*tenant.usage));
        let projects = self.projects.values();
        tenants.chain(projects.map(|project| (project.id.as_bytes(), &*project.usage)))
    }

    /// The project with this id.
    pub fn project(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(&id)
    }

    /// All tenants.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &Arc<Project>> {
        self.projects.values()
    }

    /// Checks an API key at a time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// `unauthenticated`, the same for every way in which a key can be wrong; `forbidden` when its project or
    /// tenant is suspended.
    pub fn authenticate(
        &self,
        hasher: &KeyHasher,
        credential: &str,
        now_ms: u64,
    ) -> Result<Principal> {
        let (id, secret_hash) = hasher.read_key(credential).ok_or_else(unknown)?;
        let key = self.keys.get(&id).ok_or_else(unknown)?;
        let principal = self.principal_with(key, secret_hash, now_ms)?;
        if key.is_used(now_ms) {
            principal.project.usage.meter().key_used(id, now_ms);
        }
        Ok(principal)
    }

    /// The token in a text whose signature is right. It may be kept, to be looked at again by
    /// [`Catalogue::bearer`].
    ///
    /// # Errors
    /// `unauthenticated`, the same for every way in which a token can be wrong.
    pub fn verify_token(&self, text: &str, now_ms: u64) -> Result<Token> {
        self.verify(text, now_ms).ok_or_else(unknown)
    }

    /// Who brings a token that was verified, at a time.
    ///
    /// # Errors
    /// `unauthenticated` when it has ended, was revoked or nobody trusts its signer any more; `forbidden` when
    /// its project or tenant is suspended.
    pub fn bearer(&self, token: &Arc<Token>, now_ms: u64) -> Result<Principal> {
        if !self.accepts(token, now_ms) {
            return Err(unknown());
        }
        if token.ends_at_ms <= now_ms {
            return Err(expired());
        }
        Ok(Principal {
            project: self.open_project(token.project)?,
            permissions: token.permissions.clone(),
            expires_at_ms: Some(token.ends_at_ms),
            credential: Credential::Token(token.clone()),
        })
    }

    /// What a principal is now.
    ///
    /// # Errors
    /// `unauthenticated` when its credential was revoked, was changed or has expired, `forbidden` when
    /// its project or tenant is suspended.
    pub fn recheck(&self, principal: &Principal, now_ms: u64) -> Result<Principal> {
        match &principal.credential {
            Credential::Key(id, secret_hash) => self.principal(*id, *secret_hash, now_ms),
            Credential::Token(token) => self.bearer(token, now_ms),
        }
    }

    /// Who a key makes, for a caller who knows in another way that the key was there.
    pub(crate) fn principal_of(&self, id: KeyId, now_ms: u64) -> Option<Principal> {
        self.principal(id, self.secret_of(id)?, now_ms).ok()
    }

    /// The hash of a key's secret.
    pub(crate) fn secret_of(&self, id: KeyId) -> Option<SecretHash> {
        Some(self.keys.get(&id)?.secret_hash)
    }

    fn principal(&self, id: KeyId, secret_hash: SecretHash, now_ms: u64) -> Result<Principal> {
        let key = self.keys.get(&id).ok_or_else(unknown)?;
        self.principal_with(key, secret_hash, now_ms)
    }

    fn principal_with(
        &self,
        key: &ApiKey,
        secret_hash: SecretHash,
        now_ms: u64,
    ) -> Result<Principal> {
        let expires_at_ms = key.opens_until(secret_hash).ok_or_else(unknown)?;
        if expires_at_ms.is_some_and(|end| end <= now_ms) {
            return Err(expired());
        }
        Ok(Principal {
            project: self.open_project(key.project)?,
            permissions: key.permissions.clone(),
            expires_at_ms,
            credential: Credential::Key(key.id, secret_hash),
        })
    }

    /// A project that may be used.
    fn open_project(&self, id: ProjectId) -> Result<Arc<Project>> {
        let project = self.projects.get(&id).ok_or_else(unknown)?;
        let tenant = self.tenants.get(&project.tenant).ok_or_else(unknown)?;
        for (state, message) in [
            (
                tenant.state,
                "the tenant is suspended; its administrator knows why",
            ),
            (
                project.state,
                "the project is suspended; its administrator knows why",
            ),
        ] {
            match state {
                State::Active => {}
                State::Suspended => return Err(Refusal::new(ErrorCode::Forbidden, message)),
                State::Deleting => return Err(unknown()),
            }
        }
        Ok(project.clone())
    }
}

fn expired() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "the credential has expired")
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "the credential is not valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::{
        ids::ShardId,
        names::{TopicFilter, TopicName},
    };

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).unwrap()
    }

    fn catalogue() -> (Catalogue, KeyHasher, String) {
        let hasher = KeyHasher::new(b"secret");
        let project = ProjectId::generate();
        let id = KeyId::generate();
        let (text, secret_hash) = hasher.make_key(id, &[9; 32]);
        let permissions = Permissions::new([(vec![Operation::Publish], filter("a/#"))]);
        let key = ApiKey {
            id,
            project,
            secret_hash,
            previous: None,
            permissions: Arc::new(permissions),
            expires_at_ms: Some(10),
            used_at_ms: Arc::default(),
        };
        let tenant = TenantId::generate();
        let project = Project::new(project, tenant, "p", vec![ShardId(0)]);
        (Catalogue::new([project], [key]), hasher, text)
    }

    #[test]
    fn a_key_opens_its_project_and_nothing_else_does() {
        let (catalogue, hasher, text) = catalogue();
        let principal = catalogue.authenticate(&hasher, &text, 9).unwrap();
        let inside = TopicName::try_from("a/b").unwrap();
        let outside = TopicName::try_from("b").unwrap();
        assert!(principal.require(Operation::Publish, &inside).is_ok());
        assert!(principal.require(Operation::Publish, &outside).is_err());
        assert!(principal.require(Operation::Subscribe, &inside).is_err());

        let mut wrong = text.clone();
        wrong.pop();
        let refusal = catalogue.authenticate(&hasher, &wrong, 9).unwrap_err();
        let unknown = format!("hw_{}_x", "0".repeat(32));
        for other in ["", "hw_", "hw__", "Bearer x", &unknown, &text[3..]] {
            assert_eq!(
                catalogue.authenticate(&hasher, other, 9).unwrap_err(),
                refusal,
                "{other}"
            );
        }
        let elsewhere = KeyHasher::new(b"another secret");
        assert_eq!(
            catalogue.authenticate(&elsewhere, &text, 9).unwrap_err(),
            refusal
        );
    }

    /// Changes the key that a principal has shown.
    fn change(catalogue: &mut Catalogue, principal: &Principal, change: impl FnOnce(&mut ApiKey)) {
        let key = catalogue.keys.get(&principal.key().unwrap()).unwrap();
        let mut key = ApiKey::clone(key);
        change(&mut key);
        catalogue.keys.insert(key.id, Arc::new(key));
    }

    #[test]
    fn a_principal_is_what_its_key_is_now() {
        let (mut catalogue, hasher, text) = catalogue();
        let refused = catalogue.authenticate(&hasher, &text, 10).unwrap_err();
        assert_eq!(refused.message(), "the credential has expired");
        let principal = catalogue.authenticate(&hasher, &text, 0).unwrap();
        assert_eq!(principal.expires_at_ms, Some(10));
        assert!(catalogue.recheck(&principal, 9).is_ok());
        assert_eq!(catalogue.recheck(&principal, 10).unwrap_err(), refused);
        change(&mut catalogue, &principal, |key| key.expires_at_ms = None);
        let later = catalogue.recheck(&principal, u64::MAX).unwrap();
        assert_eq!(later.expires_at_ms, None);
        let another = SecretHash::from_bytes([1; 32]);
        change(&mut catalogue, &principal, |key| key.secret_hash = another);
        let revoked = catalogue.recheck(&principal, 0).unwrap_err();
        catalogue.keys.remove(&principal.key().unwrap());
        assert_eq!(catalogue.recheck(&principal, 0).unwrap_err(), revoked);
    }

    #[test]
    fn a_rotated_key_is_good_with_both_secrets_for_a_time() {
        let (mut catalogue, hasher, old) = catalogue();
        let principal = catalogue.authenticate(&hasher, &old, 0).unwrap();
        let (new, hash) = hasher.make_key(principal.key().unwrap(), &[8; 32]);
        change(&mut catalogue, &principal, |key| {
            key.previous = Some((key.secret_hash, 100));
            key.secret_hash = hash;
            key.expires_at_ms = Some(200);
        });
        let ends = |text: &str| {
            catalogue
                .authenticate(&hasher, text, 99)
                .unwrap()
                .expires_at_ms
        };
        assert_eq!((ends(&old), ends(&new)), (Some(100), Some(200)));
        assert!(catalogue.recheck(&principal, 99).is_ok());
        assert!(catalogue.recheck(&principal, 100).is_err());
        assert!(catalogue.authenticate(&hasher, &new, 100).is_ok());
    }

    #[test]
    fn a_suspended_project_or_tenant_is_told_to_those_who_have_its_key_alone() {
        let (mut catalogue, hasher, text) = catalogue();
        let principal = catalogue.authenticate(&hasher, &text, 0).unwrap();
        let project = principal.project.clone();
        let code = |catalogue: &Catalogue, text: &str| {
            let refused = catalogue.authenticate(&hasher, text, 0).unwrap_err();
            refused.code()
        };
        catalogue.put_project(Project {
            state: State::Suspended,
            ..Project::clone(&project)
        });
        assert_eq!(code(&catalogue, &text), ErrorCode::Forbidden);
        assert_eq!(
            code(&catalogue, &text[..text.len() - 1]),
            ErrorCode::Unauthenticated
        );
        assert!(catalogue.recheck(&principal, 0).is_err());
        catalogue.put_project(Project::clone(&project));
        let tenant = Tenant {
            id: project.tenant,
            state: State::Suspended,
            quotas: Quotas::default(),
            usage: Usage::of_tenant(&Quotas::default()),
        };
        catalogue.put_tenant(tenant.clone());
        assert_eq!(code(&catalogue, &text), ErrorCode::Forbidden);
        catalogue.tenants.remove(&project.tenant);
        assert_eq!(code(&catalogue, &text), ErrorCode::Unauthenticated);
        catalogue.put_tenant(Tenant {
            state: State::Active,
            ..tenant
        });
        assert!(catalogue.recheck(&principal, 0).is_ok());
        catalogue.put_project(Project {
            state: State::Deleting,
            ..Project::clone(&project)
        });
        assert_eq!(code(&catalogue, &text), ErrorCode::Unauthenticated);
    }
}
