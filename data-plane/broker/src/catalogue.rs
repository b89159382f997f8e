//! Who may do what, and how topics are kept: projects, API keys and policies, compiled for lookup.
//!
//! The catalogue is a value. Whoever learns of a change builds a new one and swaps it in whole, so a
//! request sees one state of it from beginning to end.

use std::{collections::HashMap, hash::Hasher, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::{
    ErrorCode,
    ids::{KeyId, ProjectId, ShardId, TenantId},
    limits::{CREDENTIAL_BYTES_MAX, PAYLOAD_BYTES_MAX},
    names::{TopicFilter, TopicName},
};
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

use crate::{
    handle::TopicPolicy,
    origin::OriginPattern,
    refusal::{Refusal, Result},
    system,
};

/// All projects and keys.
#[derive(Debug, Default)]
pub struct Catalogue {
    projects: HashMap<ProjectId, Arc<Project>>,
    keys: HashMap<KeyId, ApiKey>,
}

/// An isolated namespace of topics.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The name people gave it.
    pub name: String,
    /// The shards its topics are spread over. Never empty, and never reordered.
    pub shards: Vec<ShardId>,
    /// How topics are kept; the first policy whose filter matches decides.
    pub policies: Vec<(TopicFilter, Policy)>,
    /// Largest payload of one message, in bytes.
    pub payload_bytes_max: usize,
    /// The web pages that may use it, beside those of the service's own address.
    pub origins: Vec<OriginPattern>,
}

/// How topics are kept. The default keeps everything and creates topics on first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What decides how a publish is applied.
    pub topic: TopicPolicy,
    /// What decides how long records stay.
    pub retention: Retention,
}

/// How long records stay: until the first of these limits that is set is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Age in milliseconds.
    pub age_ms: Option<u64>,
    /// Bytes of messages of one topic.
    pub bytes: Option<u64>,
    /// Records of one topic.
    pub records: Option<u64>,
}

impl Retention {
    /// Whether anything is ever dropped.
    pub fn is_limited(&self) -> bool {
        self.age_ms.is_some() || self.bytes.is_some() || self.records.is_some()
    }
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
    /// What it allows.
    pub permissions: Arc<Permissions>,
    /// When it opens nothing any more, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// What a credential may do to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Append records.
    Publish = 1,
    /// Read and subscribe.
    Subscribe = 2,
    /// Delete topics.
    Manage = 4,
}

impl Operation {
    /// The operation with this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        match name {
            "publish" => Some(Operation::Publish),
            "subscribe" => Some(Operation::Subscribe),
            "manage" => Some(Operation::Manage),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Publish => "publish",
            Operation::Subscribe => "subscribe",
            Operation::Manage => "manage",
        }
    }
}

/// Operations × topic filters.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    grants: Vec<(u8, TopicFilter)>,
}

impl Permissions {
    /// Permissions that allow each of these operations on the topics that match its filter.
    pub fn new(grants: impl IntoIterator<Item = (Vec<Operation>, TopicFilter)>) -> Permissions {
        let compile = |(operations, filter): (Vec<Operation>, TopicFilter)| {
            let bits = operations.iter().fold(0, |bits, o| bits | *o as u8);
            (bits, filter)
        };
        Permissions {
            grants: grants.into_iter().map(compile).collect(),
        }
    }

    /// Whether the operation is allowed on the topic.
    pub fn allow(&self, operation: Operation, topic: &TopicName) -> bool {
        self.granted(operation).any(|f| f.matches(topic.as_str()))
    }

    /// Whether the operation is allowed on every topic the filter could match.
    pub fn allow_all(&self, operation: Operation, filter: &TopicFilter) -> bool {
        self.granted(operation)
            .any(|granted| covers(granted, filter))
    }

    fn granted(&self, operation: Operation) -> impl Iterator<Item = &TopicFilter> {
        let grants = self.grants.iter();
        grants.filter_map(move |(bits, f)| (bits & operation as u8 != 0).then_some(f))
    }
}

/// Whether every topic that `narrow` matches is matched by `wide`.
fn covers(wide: &TopicFilter, narrow: &TopicFilter) -> bool {
    let (wide, narrow) = (wide.as_str(), narrow.as_str());
    // A first-level wildcard never reaches the system's topics, but a literal `$…` does.
    if wide.starts_with(['+', '#']) && narrow.starts_with('$') {
        return false;
    }
    let mut narrow_levels = narrow.split('/');
    for level in wide.split('/') {
        if level == "#" {
            return true;
        }
        match narrow_levels.next() {
            Some("#") | None => return false,
            Some(wanted) if level == "+" || level == wanted => {}
            Some(_) => return false,
        }
    }
    narrow_levels.next().is_none()
}

/// Keyed BLAKE3 hash of a key's secret. The key of the hash is the cluster's secret, so a copy of
/// the catalogue alone cannot be searched for weak secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    #[cfg(test)]
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> SecretHash {
        SecretHash(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From its hexadecimal text.
    pub fn from_hex(text: &str) -> Option<SecretHash> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|h| SecretHash(*h.as_bytes()))
    }

    /// Its hexadecimal text.
    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Makes and checks the secrets of API keys.
#[derive(Clone)]
pub struct KeyHasher {
    key: [u8; 32],
}

/// What begins the text of every API key.
pub const KEY_PREFIX: &str = "hw_";

impl KeyHasher {
    /// From the secret that all nodes of the cluster share.
    pub fn new(cluster_secret: &[u8]) -> KeyHasher {
        KeyHasher {
            key: blake3::derive_key("highwater 2026-11 api key hash", cluster_secret),
        }
    }

    /// The text a client sends and the hash to keep, for a key with this id and 32 random bytes.
    pub fn make_key(&self, id: KeyId, random: &[u8; 32]) -> (String, SecretHash) {
        let secret = URL_SAFE_NO_PAD.encode(random);
        let id = id.to_string();
        let id = id.trim_start_matches(KeyId::PREFIX);
        let text = format!("{KEY_PREFIX}{id}_{secret}");
        (text, self.hash(&secret))
    }

    fn hash(&self, secret: &str) -> SecretHash {
        SecretHash(*blake3::keyed_hash(&self.key, secret.as_bytes()).as_bytes())
    }
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key that was presented.
    pub key: KeyId,
    /// The project it opens.
    pub project: Arc<Project>,
    /// What it allows.
    pub permissions: Arc<Permissions>,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// Tells the key from one that was given the same id and another secret since.
    secret_hash: SecretHash,
}

impl Principal {
    /// The hash of its key's secret.
    pub(crate) fn secret_hash(&self) -> &SecretHash {
        &self.secret_hash
    }

    /// # Errors
    /// `forbidden` when the credential does not allow the operation on this topic.
    pub fn require(&self, operation: Operation, topic: &TopicName) -> Result<()> {
        match self.permissions.allow(operation, topic) {
            true => Ok(()),
            false => Err(forbidden(operation)),
        }
    }

    /// # Errors
    /// `forbidden` when the credential does not allow the operation on all topics of the filter.
    pub fn require_all(&self, operation: Operation, filter: &TopicFilter) -> Result<()> {
        match self.permissions.allow_all(operation, filter) {
            true => Ok(()),
            false => Err(forbidden(operation)),
        }
    }
}

fn forbidden(operation: Operation) -> Refusal {
    let message = format!("this credential may not {} here", operation.name());
    Refusal::new(ErrorCode::Forbidden, message)
}

impl Catalogue {
    /// A catalogue of these projects and keys. Keys of unknown projects open nothing.
    pub fn new(
        projects: impl IntoIterator<Item = Project>,
        keys: impl IntoIterator<Item = ApiKey>,
    ) -> Catalogue {
        let projects = projects.into_iter().map(|project| {
            assert!(project.id != system::PROJECT, "no key opens the system");
            (project.id, Arc::new(project))
        });
        let keys = keys.into_iter().map(|k| (k.id, k));
        Catalogue {
            projects: projects.collect(),
            keys: keys.collect(),
        }
    }

    /// The project with this id.
    pub fn project(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(&id)
    }

    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &Arc<Project>> {
        self.projects.values()
    }

    /// Checks an API key at a time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// `unauthenticated`, the same for every way in which a key can be wrong.
    pub fn authenticate(
        &self,
        hasher: &KeyHasher,
        credential: &str,
        now_ms: u64,
    ) -> Result<Principal> {
        if credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(unknown());
        }
        let (id, secret) = credential
            .strip_prefix(KEY_PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or_else(unknown)?;
        let id: KeyId = format!("{}{id}", KeyId::PREFIX)
            .parse()
            .map_err(|_| unknown())?;
        // Hash first: an unknown id takes as long as a wrong secret.
        self.principal(id, hasher.hash(secret), now_ms)
    }

    /// What a principal is now.
    ///
    /// # Errors
    /// `unauthenticated` when its key was revoked, was given another secret or has expired.
    pub fn recheck(&self, principal: &Principal, now_ms: u64) -> Result<Principal> {
        self.principal(principal.key, principal.secret_hash, now_ms)
    }

    /// Who a key makes, for a caller who knows in another way that the key was there.
    pub(crate) fn principal_of(&self, id: KeyId, now_ms: u64) -> Option<Principal> {
        let secret_hash = self.keys.get(&id)?.secret_hash;
        self.principal(id, secret_hash, now_ms).ok()
    }

    fn principal(&self, id: KeyId, secret_hash: SecretHash, now_ms: u64) -> Result<Principal> {
        let key = self.keys.get(&id).ok_or_else(unknown)?;
        if !bool::from(key.secret_hash.0.ct_eq(&secret_hash.0)) {
            return Err(unknown());
        }
        if key.expires_at_ms.is_some_and(|end| end <= now_ms) {
            let message = "the credential has expired";
            return Err(Refusal::new(ErrorCode::Unauthenticated, message));
        }
        let project = self.projects.get(&key.project).ok_or_else(unknown)?;
        Ok(Principal {
            key: id,
            project: project.clone(),
            permissions: key.permissions.clone(),
            expires_at_ms: key.expires_at_ms,
            secret_hash,
        })
    }
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "the credential is not valid")
}

impl Project {
    /// A project whose topics are kept for good and created on first use.
    pub fn new(id: ProjectId, tenant: TenantId, name: &str, shards: Vec<ShardId>) -> Project {
        assert!(!shards.is_empty(), "a project has at least one shard");
        Project {
            id,
            tenant,
            name: name.to_owned(),
            shards,
            policies: Vec::new(),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            origins: Vec::new(),
        }
    }

    /// The shard that keeps a topic.
    pub fn shard_of(&self, topic: &TopicName) -> ShardId {
        if let [only] = self.shards.as_slice() {
            return *only;
        }
        // A hash that no release may change: it says where data lies.
        let mut hasher = SipHasher24::new_with_keys(0x6869_6768, 0x7761_7465);
        hasher.write(self.id.as_bytes());
        hasher.write(topic.as_str().as_bytes());
        self.shards[(hasher.finish() % self.shards.len() as u64) as usize]
    }

    /// How a topic is kept.
    pub fn policy(&self, topic: &TopicName) -> Policy {
        let mut policies = self.policies.iter();
        policies
            .find(|(filter, _)| filter.matches(topic.as_str()))
            .map(|(_, policy)| *policy)
            .unwrap_or_default()
    }
}

/// The shards a project is spread over, out of all of them: the `spread` that rank highest by a hash
/// of project and shard (rendezvous hashing), so that tenants share few shards with each other.
pub fn place_project(id: ProjectId, spread: usize, shards: u32) -> Vec<ShardId> {
    let weight = |shard: u32| {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(id.as_bytes());
        bytes[16..].copy_from_slice(&shard.to_be_bytes());
        *blake3::hash(&bytes).as_bytes()
    };
    let mut ranked: Vec<u32> = (0..shards).collect();
    ranked.sort_by_key(|shard| std::cmp::Reverse(weight(*shard)));
    ranked.truncate(spread.max(1));
    ranked.into_iter().map(ShardId).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            permissions: Arc::new(permissions),
            expires_at_ms: Some(10),
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

    #[test]
    fn a_principal_is_what_its_key_is_now() {
        let (mut catalogue, hasher, text) = catalogue();
        let refused = catalogue.authenticate(&hasher, &text, 10).unwrap_err();
        assert_eq!(refused.message(), "the credential has expired");
        let principal = catalogue.authenticate(&hasher, &text, 0).unwrap();
        assert_eq!(principal.expires_at_ms, Some(10));
        assert!(catalogue.recheck(&principal, 9).is_ok());
        assert_eq!(catalogue.recheck(&principal, 10).unwrap_err(), refused);
        let key = catalogue.keys.get_mut(&principal.key).unwrap();
        key.expires_at_ms = None;
        let later = catalogue.recheck(&principal, u64::MAX).unwrap();
        assert_eq!(later.expires_at_ms, None);
        let key = catalogue.keys.get_mut(&principal.key).unwrap();
        key.secret_hash = hasher.hash("another");
        let revoked = catalogue.recheck(&principal, 0).unwrap_err();
        catalogue.keys.clear();
        assert_eq!(catalogue.recheck(&principal, 0).unwrap_err(), revoked);
    }

    #[test]
    fn a_filter_is_allowed_only_if_all_it_matches_is() {
        for (granted, asked, expected) in [
            ("#", "a/#", true),
            ("#", "$SYS/#", false),
            ("a/#", "a", true),
            ("a/#", "a/+/b", true),
            ("a/#", "+/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("+/b", "a/b", true),
            ("+/b", "a/#", false),
            ("a/+/#", "a/#", false),
        ] {
            assert_eq!(
                covers(&filter(granted), &filter(asked)),
                expected,
                "{granted} {asked}"
            );
        }
    }

    #[test]
    fn a_project_keeps_its_shards_when_its_spread_grows() {
        let id = ProjectId::from_bytes([3; 16]);
        let few = place_project(id, 2, 64);
        let more = place_project(id, 5, 64);
        assert_eq!(few, more[..2]);
        assert_eq!(place_project(id, 8, 1), vec![ShardId(0)]);
    }
}
