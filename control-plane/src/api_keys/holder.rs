//! Who is known by an API key alone: to mint tokens with it, and for nothing else here.

use axum::http::HeaderMap;
use highwater_credentials::{KeyHasher, SecretHash};
use highwater_proto::{
    control::{self, State},
    ids::{KeyId, ProjectId},
};

use crate::{
    admin::{Principal, bearer},
    api::Api,
    catalogue::{Catalogue, Kept as _},
    refusal::{Reason, Result},
    shapes::{Permission, Timestamp, permissions_of},
};

/// Whoever has an API key that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// The key's id.
    pub key: KeyId,
    /// The project that it opens.
    pub project: ProjectId,
    /// What it allows.
    pub permissions: Vec<Permission>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Holder {
    /// Whose API key is in the headers of a request.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`], with the words that administrators get.
    pub fn presented(api: &Api, headers: &HeaderMap) -> Result<Holder> {
        let ms = (api.clock)();
        let holder = bearer(headers).and_then(|text| {
            let of = |catalogue: &Catalogue| Holder::of(catalogue, &api.hasher, text, ms);
            api.replica.read(of)
        });
        holder.ok_or_else(|| {
            api.metrics.unauthenticated.inc();
            Reason::Unauthenticated.into()
        })
    }

    /// The holder of the key with this text, if it is good: the same that a node lets in.
    fn of(catalogue: &Catalogue, hasher: &KeyHasher, text: &str, ms: u64) -> Option<Holder> {
        let (id, hash) = hasher.read_key(text)?;
        let key = &catalogue.keys.get(id)?.value;
        let project = key.parent()?;
        let has_secret = is(&key.secret_hash, hash)
            || is(&key.previous_secret_hash, hash) && ms < key.previous_until_ms;
        let has_ended = (1..=ms).contains(&key.expires_at_ms);
        let is_good = has_secret && !has_ended && !key.is_disabled && is_open(catalogue, project);
        is_good.then(|| Holder {
            key: id,
            project,
            permissions: permissions_of(&key.permissions),
            expires_at: Timestamp::unless_zero(key.expires_at_ms),
        })
    }

    /// As requests are counted.
    pub fn principal(&self) -> Principal {
        Principal {
            actor: format!("key:{}", self.key),
            is_operator: false,
            subjects: Vec::new(),
        }
    }
}

fn is(stored: &[u8], hash: SecretHash) -> bool {
    let stored = <[u8; 32]>::try_from(stored);
    stored.is_ok_and(|stored| SecretHash::from_bytes(stored) == hash)
}

/// Whether a project and its tenant are active.
fn is_open(catalogue: &Catalogue, project: ProjectId) -> bool {
    let project = catalogue.projects.get(project).map(|stored| &stored.value);
    let tenant = project.and_then(|p: &control::Project| catalogue.tenants.get(p.parent()?));
    project.is_some_and(|p| p.state() == State::Active)
        && tenant.is_some_and(|t| t.value.state() == State::Active)
}
