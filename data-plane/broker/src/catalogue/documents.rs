//! The documents of the catalogue: records of one topic of the meta group, the newest of each id counting.
//!
//! A commit is appended at the end of the topic that its writer has seen, or not at all; that makes all
//! commits one after the other, so a writer decides with the whole catalogue before it (optimistic concurrency
//! control). The catalogue's *version* is the topic's next offset, and a document's version the one that its
//! record has made. What is said of a commit in the audit logs, topics beside it, is appended with it.

use std::{collections::HashSet, sync::Arc};

use highwater_credentials::{
    KeySet, SecretHash,
    token::{Grant, SERVICE_ISSUER},
};
use highwater_proto::{
    ErrorCode,
    control::{self, AuditEntry, CommitRequest, Document, document::Resource},
    ids::{IssuerId, KeyId, ProjectId, RevocationId, ShardId, SigningKeyId, TenantId},
    limits::{
        COMMIT_BYTES_MAX, COMMIT_DOCUMENTS_MAX, DOCUMENT_ID_BYTES_MAX, FEED_SHARDS_MAX,
        PAYLOAD_BYTES_MAX, TOKEN_LIFETIME_MS_MAX,
    },
    names::{TopicFilter, TopicName},
    origin::OriginPattern,
};
use prost::Message as _;

use super::{
    ApiKey, Catalogue, Operation, Permissions, Policy, Project, Quotas, Retention, State, Tenant,
    place_project,
    tokens::{Issuer, Revocation, Revoked, ServiceKey, Trust},
};
use crate::{
    handle::{Publish, Retain, TopicEnd, TopicPolicy},
    quota::Usage,
    refusal::{Refusal, Result},
    system,
};

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {message}")]
pub struct Unreadable {
    id: String,
    message: String,
}

impl Catalogue {
    /// Takes up a document in the place of the one that had its id, for a cluster of these shards.
    ///
    /// # Errors
    /// Why it cannot be used. What it describes is not there then, and opens nothing.
    pub fn apply(&mut self, document: &Document, shards: &[ShardId]) -> Result<(), Unreadable> {
        let (id, resource) = (document.id.as_str(), document.resource.as_ref());
        let done = match resource {
            Some(Resource::Tenant(tenant)) => read_tenant(id, tenant).map(|t| self.put_tenant(t)),
            Some(Resource::Project(project)) => {
                read_project(id, project, shards).map(|p| self.put_project(p))
            }
            Some(Resource::ApiKey(key)) => read_key(id, key).map(|key| match key {
                Some(key) => drop(self.keys.insert(key.id, Arc::new(key))),
                None => self.remove(id),
            }),
            // The control plane's own.
            Some(Resource::Member(_) | Resource::Request(_)) => Ok(()),
            Some(Resource::Issuer(issuer)) => read_issuer(id, issuer).map(|i| self.put_issuer(i)),
            Some(Resource::SigningKey(key)) => read_signing_key(id, key).map(|(id, key)| {
                self.service_keys.insert(id, Arc::new(key));
            }),
            Some(Resource::Revocation(revocation)) => {
                read_revocation(id, revocation).map(|r| self.put_revocation(r))
            }
            Some(Resource::Deleted(_)) => {
                self.remove(id);
                Ok(())
            }
            None => Err("a kind of resource that this release does not know".to_owned()),
        };
        done.map_err(|message| {
            self.remove(id);
            let id = id.to_owned();
            Unreadable { id, message }
        })
    }

    fn remove(&mut self, id: &str) {
        if let Ok(id) = id.parse() {
            self.tenants.remove(&id);
        }
        if let Ok(id) = id.parse() {
            self.projects.remove(&id);
        }
        if let Ok(id) = id.parse() {
            self.keys.remove(&id);
        }
        if let Ok(id) = id.parse() {
            self.service_keys.remove(&id);
        }
        if let Ok(id) = id.parse() {
            self.remove_issuer(id);
        }
        if let Ok(id) = id.parse() {
            self.remove_revocation(id);
        }
    }

    fn put_issuer(&mut self, issuer: Issuer) {
        self.remove_issuer(issuer.id);
        let issuer = Arc::new(issuer);
        self.issuers.insert(issuer.id, issuer.clone());
        self.edit_trust(issuer.project, |trust| trust.add_issuer(issuer));
    }

    fn remove_issuer(&mut self, id: IssuerId) {
        if let Some(issuer) = self.issuers.remove(&id) {
            self.edit_trust(issuer.project, |trust| trust.remove_issuer(id));
        }
    }

    fn put_revocation(&mut self, revocation: Revocation) {
        self.remove_revocation(revocation.id);
        let revocation = Arc::new(revocation);
        self.revocations.insert(revocation.id, revocation.clone());
        self.edit_trust(revocation.project, |trust| trust.add_revocation(revocation));
    }

    fn remove_revocation(&mut self, id: RevocationId) {
        if let Some(revocation) = self.revocations.remove(&id) {
            let forget = |trust: &mut Trust| trust.remove_revocation(&revocation);
            self.edit_trust(revocation.project, forget);
        }
    }

    fn edit_trust(&mut self, project: ProjectId, edit: impl FnOnce(&mut Trust)) {
        let trust = self.trust.get(&project);
        let mut trust = trust.map_or_else(Trust::default, |trust| Trust::clone(trust));
        edit(&mut trust);
        self.trust.insert(project, Arc::new(trust));
    }
}

fn read_tenant(id: &str, tenant: &control::Tenant) -> Result<Tenant, String> {
    let quotas = quotas(tenant.quotas.as_ref());
    Ok(Tenant {
        id: parse::<TenantId>(id)?,
        state: state(tenant.state)?,
        quotas,
        usage: Usage::of_tenant(&quotas),
    })
}

fn read_project(
    id: &str,
    project: &control::Project,
    shards: &[ShardId],
) -> Result<Project, String> {
    let id: ProjectId = parse(id)?;
    if system::is_own(id) {
        return Err("this is the system's own".to_owned());
    }
    // A cursor of filters holds a position in each of the project's shards.
    let spread_max = shards.len().min(FEED_SHARDS_MAX);
    let spread = project.spread as usize;
    if spread == 0 || spread > spread_max {
        return Err(format!("spread: from 1 to {spread_max}"));
    }
    let placed = place_project(id, spread, shards.len() as u32);
    let mut read = Project::new(id, parse(&project.tenant)?, &project.name, placed);
    read.state = state(project.state)?;
    read.quotas = quotas(project.quotas.as_ref());
    let payload_bytes = project.quotas.as_ref().map_or(0, |q| q.payload_bytes);
    if let Some(bytes) = limit(payload_bytes) {
        read.payload_bytes_max =
            usize::try_from(bytes).map_or(PAYLOAD_BYTES_MAX, |bytes| bytes.min(PAYLOAD_BYTES_MAX));
    }
    for origin in &project.origins {
        let pattern = OriginPattern::try_from(origin.as_str());
        read.origins.push(pattern.map_err(|e| e.to_string())?);
    }
    for policy in &project.policies {
        read.policies
            .push((filter(&policy.filter)?, policy_of(policy)));
    }
    Ok(read)
}

fn policy_of(policy: &control::TopicPolicy) -> Policy {
    Policy {
        topic: TopicPolicy {
            last_value: policy.last_value,
            must_exist: policy.must_exist,
            ..TopicPolicy::default()
        },
        retention: Retention {
            age_ms: limit(policy.retention_ms),
            bytes: limit(policy.retention_bytes),
            records: limit(policy.retention_records),
        },
    }
}

/// A key; nothing of one that is disabled.
fn read_key(id: &str, key: &control::ApiKey) -> Result<Option<ApiKey>, String> {
    let hash = |bytes: &[u8]| {
        let bytes = bytes.try_into().map_err(|_| "a hash has 32 bytes")?;
        Ok::<_, String>(SecretHash::from_bytes(bytes))
    };
    let previous = match key.previous_secret_hash.is_empty() {
        true => None,
        false => Some((hash(&key.previous_secret_hash)?, key.previous_until_ms)),
    };
    let read = ApiKey {
        id: parse::<KeyId>(id)?,
        project: parse(&key.project)?,
        secret_hash: hash(&key.secret_hash)?,
        previous,
        permissions: Arc::new(permissions(&key.permissions)?),
        expires_at_ms: limit(key.expires_at_ms),
        used_at_ms: Arc::default(),
    };
    Ok((!key.is_disabled).then_some(read))
}

fn read_issuer(id: &str, issuer: &control::Issuer) -> Result<Issuer, String> {
    let lifetime_ms = limit(issuer.token_lifetime_ms_max).unwrap_or(TOKEN_LIFETIME_MS_MAX);
    if issuer.issuer == SERVICE_ISSUER {
        return Err("issuer: this is the service itself".to_owned());
    }
    let grant = |permission: &control::Permission| Grant {
        operations: permission.operations.clone(),
        topics: permission.topics.clone(),
    };
    Ok(Issuer {
        id: parse(id)?,
        project: parse(&issuer.project)?,
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        // Of a URL whose keys were not fetched yet there are none, and nothing that they have signed.
        keys: match issuer.jwks.as_str() {
            "" => KeySet::default(),
            jwks => KeySet::read(jwks).map_err(|e| format!("jwks: {e}"))?,
        },
        permissions_max: issuer.permissions_max.iter().map(grant).collect(),
        lifetime_ms_max: lifetime_ms.min(TOKEN_LIFETIME_MS_MAX),
    })
}

fn read_signing_key(
    id: &str,
    key: &control::SigningKey,
) -> Result<(SigningKeyId, ServiceKey), String> {
    let keys = format!("{{\"keys\":[{}]}}", key.public_jwk);
    let keys = KeySet::read(&keys).map_err(|e| e.to_string())?;
    if !keys.has(id) {
        return Err("its `kid` is not its id".to_owned());
    }
    let read = ServiceKey {
        keys,
        accepted_until_ms: limit(key.accepted_until_ms),
    };
    Ok((parse(id)?, read))
}

fn read_revocation(id: &str, revocation: &control::Revocation) -> Result<Revocation, String> {
    use control::revocation::What;
    Ok(Revocation {
        id: parse(id)?,
        project: parse(&revocation.project)?,
        what: match revocation.what.clone() {
            Some(What::TokenId(token)) => Revoked::Token(token),
            Some(What::Subject(subject)) => Revoked::Subject(subject),
            Some(What::All(_)) => Revoked::All,
            None => return Err("it does not say what is revoked".to_owned()),
        },
        issued_before_ms: revocation.issued_before_ms,
    })
}

fn permissions(grants: &[control::Permission]) -> Result<Permissions, String> {
    let grant = |grant: &control::Permission| {
        let operation = |name: &String| {
            Operation::from_name(name).ok_or_else(|| format!("there is no operation `{name}`"))
        };
        let operations = grant.operations.iter().map(operation);
        Ok::<_, String>((
            operations.collect::<Result<_, _>>()?,
            filter(&grant.topics)?,
        ))
    };
    let grants: Vec<_> = grants.iter().map(grant).collect::<Result<_, _>>()?;
    Ok(Permissions::new(grants))
}

fn parse<T: std::str::FromStr>(id: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    id.parse().map_err(|e: T::Err| format!("`{id}`: {e}"))
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::try_from(text).map_err(|e| format!("filter `{text}`: {e}"))
}

fn state(number: i32) -> Result<State, String> {
    match control::State::try_from(number) {
        Ok(control::State::Active) => Ok(State::Active),
        Ok(control::State::Suspended) => Ok(State::Suspended),
        Ok(control::State::Deleting) => Ok(State::Deleting),
        Err(_) => Err("a state that this release does not know".to_owned()),
    }
}

/// 0 is no limit.
fn limit(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

fn quotas(quotas: Option<&control::Quotas>) -> Quotas {
    quotas.map_or(Quotas::default(), |quotas| Quotas {
        publish_messages_per_second: limit(quotas.publish_messages_per_second),
        publish_bytes_per_second: limit(quotas.publish_bytes_per_second),
        delivery_messages_per_second: limit(quotas.delivery_messages_per_second),
        delivery_bytes_per_second: limit(quotas.delivery_bytes_per_second),
        connections: limit(quotas.connections),
        subscriptions: limit(quotas.subscriptions),
        topics: limit(quotas.topics),
        stored_bytes: limit(quotas.stored_bytes),
    })
}

/// The topic of the documents.
pub fn topic() -> TopicName {
    TopicName::try_from(system::CATALOGUE).expect("a name of our own")
}

/// The topic of an audit log: of a tenant, or, without one, of what belongs to none.
///
/// # Errors
/// `invalid_request` when it is not the id of one.
pub fn audit_topic(tenant: &str) -> Result<TopicName> {
    let name = match tenant {
        "" => format!("{}service", system::AUDIT),
        tenant => {
            let wrong = |e| invalid(format!("tenant: {e}"));
            format!(
                "{}{}",
                system::AUDIT,
                tenant.parse::<TenantId>().map_err(wrong)?
            )
        }
    };
    Ok(TopicName::try_from(name.as_str()).expect("a name of our own"))
}

/// What a commit appends to topics of the meta group's project, in this order, all or nothing.
///
/// # Errors
/// `invalid_request` for one that no reader could take up.
pub fn commit(project: &Project, request: CommitRequest) -> Result<Vec<Publish>> {
    let CommitRequest {
        if_version,
        mut documents,
        audit,
    } = request;
    if !(1..=COMMIT_DOCUMENTS_MAX).contains(&(documents.len() + audit.len())) {
        let message =
            format!("a commit has from 1 to {COMMIT_DOCUMENTS_MAX} documents and entries");
        return Err(invalid(message));
    }
    let mut ids = HashSet::new();
    let count = documents.len();
    for (at, document) in documents.iter_mut().enumerate() {
        document.version = 0;
        document.ends_commit = at + 1 == count;
        if document.id.is_empty() || document.id.len() > DOCUMENT_ID_BYTES_MAX {
            return Err(invalid("a document has an id"));
        }
        if document.resource.is_none() {
            return Err(invalid(format!("{}: there is nothing in it", document.id)));
        }
        if !ids.insert(document.id.clone()) {
            return Err(invalid(format!("{}: it is there twice", document.id)));
        }
    }
    let mut publishes = Vec::with_capacity(count + audit.len());
    for document in &documents {
        publishes.push(Publish {
            key: key_of(&document.id),
            ..system::publish(
                project,
                topic(),
                document.encode_to_vec(),
                Retain::Unchanged,
            )
        });
    }
    for entry in &audit {
        let topic = audit_topic(&entry.tenant)?;
        publishes.push(system::publish(
            project,
            topic,
            entry.encode_to_vec(),
            Retain::Unchanged,
        ));
    }
    let bytes: usize = publishes.iter().map(|p| p.message.len()).sum();
    if bytes > COMMIT_BYTES_MAX {
        let message = format!("a commit has at most {COMMIT_BYTES_MAX} bytes");
        return Err(invalid(message));
    }
    for publish in publishes.iter_mut().skip(1) {
        publish.with_previous = true;
    }
    // What is only said in an audit log changes nothing that anybody could decide with.
    if count > 0 {
        publishes[0].if_end = Some(TopicEnd {
            topic: None,
            next_offset: if_version,
        });
    }
    Ok(publishes)
}

fn key_of(id: &str) -> Option<[u8; 16]> {
    blake3::hash(id.as_bytes())
        .as_bytes()
        .first_chunk()
        .copied()
}

/// The document in a record with this offset.
///
/// # Errors
/// `corrupted` when there is none.
pub fn document(message: &bytes::Bytes, offset: u64) -> Result<Document> {
    let payload = system::payload(message).ok_or_else(damaged)?;
    let mut document = Document::decode(payload).map_err(|_| damaged())?;
    document.version = offset + 1;
    Ok(document)
}

/// The entry in a record of an audit log.
///
/// # Errors
/// `corrupted` when there is none.
pub fn audit_entry(message: &bytes::Bytes) -> Result<AuditEntry> {
    let payload = system::payload(message).ok_or_else(damaged)?;
    AuditEntry::decode(payload).map_err(|_| damaged())
}

fn damaged() -> Refusal {
    let message = "a record of the catalogue cannot be read";
    Refusal::new(ErrorCode::Corrupted, message)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
