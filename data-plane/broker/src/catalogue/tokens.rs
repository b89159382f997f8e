//! Tokens: who may sign them for a project, which are good no more, and what they allow.
//!
//! A token names its project itself, in `aud` or, for issuers that do not let it be one, in
//! `highwater_project`. That is only believed once its signature has been checked with a key that this project
//! trusts: one of the service's own, or of an issuer that the project has named.

use std::{collections::HashMap, sync::Arc};

use highwater_credentials::{
    Claims, KeySet,
    token::{Grant, SERVICE_ISSUER, Unverified},
};
use highwater_proto::{
    ids::{IssuerId, KeyId, ProjectId, RevocationId, SigningKeyId},
    limits::{PERMISSIONS_MAX, TOKEN_ID_BYTES_MAX, TOKEN_LIFETIME_MS_MAX, TOKEN_SUBJECT_BYTES_MAX},
};

use super::{Catalogue, Operation, Permissions};

/// Who else signs tokens for a project.
#[derive(Debug)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerId,
    /// The project that trusts it.
    pub project: ProjectId,
    /// What tokens say in `iss`.
    pub issuer: String,
    /// One of these is what they say in `aud`, beside the project or in its place.
    pub audiences: Vec<String>,
    /// What they are signed with.
    pub keys: KeySet,
    /// What they allow at most, and what one allows that says nothing of it.
    pub permissions_max: Arc<[Grant]>,
    /// Longest time from `iat` to `exp`.
    pub lifetime_ms_max: u64,
}

/// What the service signs tokens with.
#[derive(Debug)]
pub struct ServiceKey {
    /// Its public half, alone in a set.
    pub keys: KeySet,
    /// Until when what it signed is accepted, in milliseconds since the Unix epoch.
    pub accepted_until_ms: Option<u64>,
}

/// Tokens that are good no more.
#[derive(Debug)]
pub struct Revocation {
    /// Its id.
    pub id: RevocationId,
    /// Of which project.
    pub project: ProjectId,
    /// Which of them.
    pub what: Revoked,
    /// Those that were issued before this, in milliseconds since the Unix epoch.
    pub issued_before_ms: u64,
}

/// Which tokens of a project.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// The one with this `jti`, whenever it was issued.
    Token(String),
    /// Those with this `sub`.
    Subject(String),
    /// All.
    All,
}

/// What a project trusts, and what not any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    issuers: Vec<Arc<Issuer>>,
    /// Several revocations may be of the same tokens.
    revocations: HashMap<Revoked, Vec<Arc<Revocation>>>,
}

/// A token whose signature was right.
#[derive(Debug)]
pub struct Token {
    /// The project it opens.
    pub project: ProjectId,
    /// Who signed it.
    pub signer: Signer,
    /// With which of the signer's keys: its id, and what tells it from another one with the same id.
    pub key: (String, [u8; 16]),
    /// Whom it is about.
    pub subject: Option<String>,
    /// Its own name.
    pub id: Option<String>,
    /// When it was issued, in milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
    /// When it ends.
    pub ends_at_ms: u64,
    /// The API key that it was minted with.
    pub minted_with: Option<KeyId>,
    /// What it allows.
    pub permissions: Arc<Permissions>,
    /// What its issuer could allow when it was verified: with other limits it is another token. Not of one that was
    /// stored.
    pub limits: Option<Arc<[Grant]>>,
}

/// Who has signed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The service.
    Service(SigningKeyId),
    /// An issuer of the project.
    Issuer(IssuerId),
}

impl Trust {
    pub(super) fn add_issuer(&mut self, issuer: Arc<Issuer>) {
        self.issuers.push(issuer);
    }

    pub(super) fn remove_issuer(&mut self, id: IssuerId) {
        self.issuers.retain(|issuer| issuer.id != id);
    }

    pub(super) fn add_revocation(&mut self, revocation: Arc<Revocation>) {
        let same = self.revocations.entry(revocation.what.clone());
        same.or_default().push(revocation);
    }

    pub(super) fn remove_revocation(&mut self, revocation: &Revocation) {
        if let Some(same) = self.revocations.get_mut(&revocation.what) {
            same.retain(|other| other.id != revocation.id);
            if same.is_empty() {
                self.revocations.remove(&revocation.what);
            }
        }
    }

    fn is_revoked(&self, token: &Token) -> bool {
        let of_id = token.id.clone().map(Revoked::Token);
        let of_subject = token.subject.clone().map(Revoked::Subject);
        let what = [of_id, of_subject, Some(Revoked::All)]
            .into_iter()
            .flatten();
        let mut revocations = what
            .filter_map(|what| self.revocations.get(&what))
            .flatten();
        !self.revocations.is_empty()
            && revocations.any(|revocation| match revocation.what {
                Revoked::Token(_) => true,
                _ => token.issued_at_ms < revocation.issued_before_ms,
            })
    }
}

impl Catalogue {
    /// The token in a text, if a key has signed it that its project trusts. Whether it is good now is for
    /// [`Catalogue::accepts`] to say.
    pub(super) fn verify(&self, text: &str, now_ms: u64) -> Option<Token> {
        let token = Unverified::read(text).ok()?;
        let key_id = token.key_id()?.to_owned();
        let named = token.audiences().find_map(|aud| aud.parse().ok());
        let project: ProjectId = match named {
            Some(project) => project,
            None => token.text("highwater_project")?.parse().ok()?,
        };
        let (signer, keys, lifetime_ms_max, issuer) = match token.text("iss")? {
            SERVICE_ISSUER => {
                named?;
                let id: SigningKeyId = key_id.parse().ok()?;
                let keys = &self.service_keys.get(&id)?.keys;
                (Signer::Service(id), keys, TOKEN_LIFETIME_MS_MAX, None)
            }
            name => {
                let issuers = self.trust.get(&project)?.issuers.iter();
                let mut issuers = issuers.filter(|issuer| issuer.issuer == name);
                let issuer = issuers.find(|issuer| issuer.keys.has(&key_id))?;
                let mut audiences = token.audiences();
                let is_meant = named.is_some()
                    || audiences.any(|aud| issuer.audiences.iter().any(|ours| ours == aud));
                if !is_meant {
                    return None;
                }
                let signer = Signer::Issuer(issuer.id);
                (signer, &issuer.keys, issuer.lifetime_ms_max, Some(issuer))
            }
        };
        let key = (key_id.clone(), keys.digest(&key_id)?);
        let claims = token.verify(keys).ok()?;
        claims.check_times(now_ms).ok()?;
        let issued_at_ms = claims.issued_at_ms?;
        let lifetime_ms = claims.expires_at_ms.checked_sub(issued_at_ms)?;
        let text = |name: &str, bytes_max: usize| match claims.get(name) {
            None => Some(None),
            Some(value) => {
                let text = value.as_str().filter(|text| text.len() <= bytes_max)?;
                Some(Some(text.to_owned()))
            }
        };
        let subject = text("sub", TOKEN_SUBJECT_BYTES_MAX)?;
        let said = grants(&claims)?;
        let permissions = match issuer {
            Some(issuer) => issuer.permissions_of(said.as_deref(), subject.as_deref()),
            None => compile(&said?, subject.as_deref()),
        };
        let is_short = lifetime_ms <= lifetime_ms_max;
        is_short.then_some(Token {
            project,
            signer,
            key,
            id: text("jti", TOKEN_ID_BYTES_MAX)?,
            subject,
            issued_at_ms,
            ends_at_ms: claims.expires_at_ms,
            // One that cannot be read is one that is not there.
            minted_with: text("highwater_key", TOKEN_ID_BYTES_MAX)?
                .map(|key| key.parse().unwrap_or(KeyId::from_bytes([0; 16]))),
            permissions: Arc::new(permissions),
            limits: issuer.map(|issuer| issuer.permissions_max.clone()),
        })
    }

    /// Whether a token that was verified is good now: its signer is still trusted, its key still there, and
    /// nobody has revoked it. Its end is the caller's to look at.
    pub(crate) fn accepts(&self, token: &Token, now_ms: u64) -> bool {
        let trust = self.trust.get(&token.project);
        let (key_id, digest) = &token.key;
        let has_key = |keys: &KeySet| keys.digest(key_id) == Some(*digest);
        let has_limits = |issuer: &Issuer| {
            let limits = token.limits.as_ref();
            limits.is_none_or(|limits| *limits == issuer.permissions_max)
        };
        let is_trusted = match token.signer {
            Signer::Service(id) => self.service_keys.get(&id).is_some_and(|key| {
                let until_ms = key.accepted_until_ms;
                has_key(&key.keys) && until_ms.is_none_or(|until_ms| now_ms < until_ms)
            }),
            Signer::Issuer(id) => trust.is_some_and(|trust| {
                let mut issuers = trust.issuers.iter();
                issuers.any(|issuer| issuer.id == id && has_key(&issuer.keys) && has_limits(issuer))
            }),
        };
        let key_is_there = token.minted_with.is_none_or(|id| {
            let key = self.keys.get(&id);
            key.is_some_and(|key| {
                let ends = key.expires_at_ms;
                key.project == token.project && ends.is_none_or(|ends_ms| now_ms < ends_ms)
            })
        });
        is_trusted && key_is_there && !trust.is_some_and(|trust| trust.is_revoked(token))
    }
}

impl Issuer {
    /// What a token of this issuer allows: what it says, within what the issuer may. One that says nothing of it
    /// allows what the issuer may.
    fn permissions_of(&self, said: Option<&[Grant]>, subject: Option<&str>) -> Permissions {
        let max = || compile(&self.permissions_max, subject);
        match (said, &*self.permissions_max) {
            (None, _) => max(),
            (Some(said), []) => compile(said, subject),
            (Some(said), _) => compile(said, subject).within(max()),
        }
    }
}

/// What a token says that it allows, if it says so; nothing of one that says something else there.
fn grants(claims: &Claims) -> Option<Option<Vec<Grant>>> {
    let Some(said) = claims.get("permissions") else {
        return Some(None);
    };
    let grants: Vec<Grant> = serde_json::from_value(said.clone()).ok()?;
    (grants.len() <= PERMISSIONS_MAX).then_some(Some(grants))
}

/// Grants as they are said. One that cannot be understood allows nothing.
fn compile(grants: &[Grant], subject: Option<&str>) -> Permissions {
    let grant = |grant: &Grant| {
        let operations = grant.operations.iter();
        let operations: Option<Vec<_>> = operations.map(|o| Operation::from_name(o)).collect();
        Some((operations?, grant.filter(subject)?))
    };
    Permissions::new(grants.iter().filter_map(grant))
}

#[cfg(test)]
mod tests;
