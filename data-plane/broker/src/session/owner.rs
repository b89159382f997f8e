//! Who has a session, as it is stored: what is done for its client while it is not there is done with the
//! client's permissions.

use bytes::Bytes;
use highwater_proto::{
    ErrorCode,
    cluster::{
        Session,
        session::{Grant, Token as Stored},
    },
    ids::{KeyId, ProjectId},
    names::TopicFilter,
};

use crate::{
    Broker,
    catalogue::{
        Credential, Permissions, Principal,
        tokens::{Signer, Token},
    },
    refusal::{Refusal, Result},
};

/// Makes it the session of a principal.
pub fn set_owner(session: &mut Session, principal: &Principal) {
    session.project = Bytes::copy_from_slice(principal.project.id.as_bytes());
    (session.key, session.token) = match &principal.credential {
        Credential::Key(id, _) => (Bytes::copy_from_slice(id.as_bytes()), None),
        Credential::Token(token) => (Bytes::new(), Some(store(token))),
    };
}

/// Who has it, at a time, in milliseconds since the Unix epoch. That a token has ended meanwhile does not matter.
///
/// # Errors
/// `unauthenticated` when the key is not there any more, or the token was revoked; `corrupted` when the session
/// names nobody.
pub fn owner(broker: &Broker, session: &Session, now_ms: u64) -> Result<Principal> {
    let nobody = || Refusal::new(ErrorCode::Corrupted, "a stored session names nobody");
    match &session.token {
        None => {
            let key = KeyId::try_from(&session.key[..]).map_err(|_| nobody())?;
            broker.principal_of(key, now_ms)
        }
        Some(stored) => {
            let project = ProjectId::try_from(&session.project[..]);
            let project = project.map_err(|_| nobody())?;
            let token = read(project, stored).ok_or_else(nobody)?;
            broker.principal_of_token(token, now_ms)
        }
    }
}

fn store(token: &Token) -> Stored {
    let limits = token.permissions.limits();
    Stored {
        signer: match token.signer {
            Signer::Service(id) => id.to_string(),
            Signer::Issuer(id) => id.to_string(),
        },
        key_id: token.key.0.clone(),
        key_digest: Bytes::copy_from_slice(&token.key.1),
        subject: token.subject.clone().unwrap_or_default(),
        id: token.id.clone().unwrap_or_default(),
        issued_at_ms: token.issued_at_ms,
        ends_at_ms: token.ends_at_ms,
        minted_with: token.minted_with.map_or(String::new(), |id| id.to_string()),
        grants: grants(&token.permissions),
        limits: limits.map_or(Vec::new(), grants),
        is_limited: limits.is_some(),
    }
}

fn read(project: ProjectId, stored: &Stored) -> Option<Token> {
    let signer = match stored.signer.parse() {
        Ok(id) => Signer::Issuer(id),
        Err(_) => Signer::Service(stored.signer.parse().ok()?),
    };
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let permissions = match stored.is_limited {
        true => permissions(&stored.grants).within(permissions(&stored.limits)),
        false => permissions(&stored.grants),
    };
    Some(Token {
        project,
        signer,
        key: (
            stored.key_id.clone(),
            stored.key_digest[..].try_into().ok()?,
        ),
        subject: text(&stored.subject),
        id: text(&stored.id),
        issued_at_ms: stored.issued_at_ms,
        ends_at_ms: stored.ends_at_ms,
        minted_with: match stored.minted_with.as_str() {
            "" => None,
            id => Some(id.parse().ok()?),
        },
        permissions: permissions.into(),
        limits: None,
    })
}

fn grants(permissions: &Permissions) -> Vec<Grant> {
    let grants = permissions.bits().iter();
    let grants = grants.map(|(operations, filter)| Grant {
        operations: u32::from(*operations),
        filter: filter.as_str().to_owned(),
    });
    grants.collect()
}

/// A grant that cannot be read allows nothing.
fn permissions(grants: &[Grant]) -> Permissions {
    let grants = grants.iter().filter_map(|grant| {
        let operations = u8::try_from(grant.operations).ok()?;
        Some((
            operations,
            TopicFilter::try_from(grant.filter.as_str()).ok()?,
        ))
    });
    Permissions::from_bits(grants)
}
