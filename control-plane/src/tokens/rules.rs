//! What may be minted, and by whom.

use highwater_credentials::{
    Sealer,
    token::{Grant, SERVICE_ISSUER, ServiceClaims, SigningKey},
};
use highwater_proto::{
    ids::{KeyId, ProjectId, TenantId, TokenId},
    limits::TOKEN_LIFETIME_MS_MAX,
};
use serde_json::json;

use super::shape::{Minted, NewToken, Token, grants};
use crate::{
    api_keys::Holder,
    catalogue::Catalogue,
    http::IfMatch,
    projects,
    refusal::{Reason, Result},
    shapes::Timestamp,
    signing_keys,
    write::{Answer, Change, Now},
};

/// Mints for somebody who administers the project. That is said in the audit log, since it is worth as much as a
/// key for as long as it lasts.
pub fn mint(
    now: &Now<'_>,
    (tenant, project, id): (TenantId, ProjectId, TokenId),
    new: &NewToken,
    sealer: &Sealer,
) -> Result<Change> {
    projects::changeable(now, (tenant, project), &IfMatch::default())?;
    let permissions = new.check(None)?;
    let minted = Minted::new(project, new, permissions, now.ms);
    let audited = json!(minted);
    let token = sign(now.catalogue, now.ms, id, minted, None, sealer)?;
    let change = Change::none(created(&token));
    Ok(change.audited(now, Some(tenant), "token.mint", &id, (None, Some(audited))))
}

/// Mints for a holder of an API key: no more than the key allows, and for no longer.
pub fn mint_with(
    catalogue: &Catalogue,
    ms: u64,
    holder: &Holder,
    id: TokenId,
    new: &NewToken,
    sealer: &Sealer,
) -> Result<Answer> {
    let permissions = new.check(Some(&holder.permissions))?;
    let subject = new.subject.as_deref();
    if !within(&grants(&permissions), &grants(&holder.permissions), subject) {
        return Err(
            Reason::Forbidden.because("a token allows no more than the key that it is minted with")
        );
    }
    let mut minted = Minted::new(holder.project, new, permissions, ms);
    if let Some(ends) = holder.expires_at {
        // In whole seconds, and never longer than the key.
        let ends = Timestamp(ends.0 / 1_000 * 1_000);
        minted.expires_at = minted.expires_at.min(ends);
    }
    if minted.expires_at <= minted.issued_at {
        return Err(Reason::Forbidden.because("the key has expired, or is about to"));
    }
    let token = sign(catalogue, ms, id, minted, Some(holder.key), sealer)?;
    Ok(created(&token))
}

/// Whether all that some grants allow a subject is allowed by others: each operation by one of them.
fn within(narrow: &[Grant], wide: &[Grant], subject: Option<&str>) -> bool {
    let allowed = |operation: &String, grant: &Grant| {
        let filter = grant.filter(subject);
        wide.iter().any(|wide| {
            let both = wide.filter(subject).zip(filter.as_ref());
            wide.operations.contains(operation)
                && both.is_some_and(|(wide, narrow)| wide.covers(narrow))
        })
    };
    let mut narrow = narrow.iter();
    narrow.all(|grant| {
        grant
            .operations
            .iter()
            .all(|operation| allowed(operation, grant))
    })
}

fn sign(
    catalogue: &Catalogue,
    ms: u64,
    id: TokenId,
    minted: Minted,
    key: Option<KeyId>,
    sealer: &Sealer,
) -> Result<Token> {
    let unusable = || Reason::Internal.because("the signing key cannot be opened");
    let (signer, stored) = signing_keys::signer(catalogue, ms)
        .ok_or_else(|| Reason::NoNode.because("there is no signing key yet"))?;
    let name = signer.to_string();
    let private = sealer.open(&name, &stored.value.sealed_private_key);
    let private = private.ok_or_else(unusable)?;
    let signer = SigningKey::from_pkcs8(&name, &private).map_err(|_| unusable())?;
    debug_assert!(minted.expires_at.0 - minted.issued_at.0 <= TOKEN_LIFETIME_MS_MAX);
    let text = signer.sign(&ServiceClaims {
        iss: SERVICE_ISSUER,
        aud: minted.project.0.to_string(),
        sub: minted.subject.clone(),
        jti: id.to_string(),
        iat: minted.issued_at.0 / 1_000,
        exp: minted.expires_at.0 / 1_000,
        permissions: grants(&minted.permissions),
        highwater_key: key.map(|key| key.to_string()),
    });
    Ok(minted.signed(id, text))
}

/// It has no place of its own and no version: it is kept nowhere.
fn created(token: &Token) -> Answer {
    Answer {
        version: None,
        location: None,
        ..Answer::created(String::new(), token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[(&str, &str)]) -> Vec<Grant> {
        let grant = |(operations, topics): &(&str, &str)| Grant {
            operations: operations.split(' ').map(str::to_owned).collect(),
            topics: (*topics).to_owned(),
        };
        list.iter().map(grant).collect()
    }

    #[test]
    fn a_token_allows_no_more_than_its_key() {
        let key = grants(&[
            ("publish subscribe", "orders/#"),
            ("subscribe", "users/${sub}/#"),
        ]);
        let allows = |list: &[(&str, &str)]| within(&grants(list), &key, Some("ann"));
        assert!(allows(&[
            ("publish", "orders/eu"),
            ("subscribe", "orders/+")
        ]));
        assert!(allows(&[("subscribe", "users/ann/inbox")]));
        assert!(allows(&[("subscribe", "users/${sub}/inbox")]));
        assert!(!allows(&[("publish", "users/ann/inbox")]));
        assert!(!allows(&[("subscribe", "users/bob/inbox")]));
        assert!(!allows(&[("subscribe", "users/+/inbox")]));
        assert!(!allows(&[("publish", "orders/eu"), ("publish", "#")]));
        assert!(!allows(&[("manage", "orders/eu")]));
        assert!(!within(
            &grants(&[("subscribe", "users/ann/#")]),
            &key,
            None
        ));
    }
}
