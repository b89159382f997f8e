//! How signing keys come, follow each other and go. Their private halves are drawn and sealed before.

use std::sync::Arc;

use highwater_credentials::{Sealer, token};
use highwater_proto::{
    control::{self, Document, document::Resource},
    ids::SigningKeyId,
    limits::SIGNING_KEYS_MAX,
};
use serde_json::json;

use super::shape::{GRACE_MS, SigningKey, Succession};
use crate::{
    catalogue::{Catalogue, Stored},
    http::IfMatch,
    refusal::{Reason, Result},
    write::{Answer, Change, Now, random},
};

/// How long a key signs before it is given a successor without being asked: ninety days.
const TERM_MS: u64 = 90 * 24 * 3_600 * 1_000;

/// A pair of keys that is not in the catalogue yet.
pub struct Pair {
    id: SigningKeyId,
    public_jwk: String,
    sealed: Vec<u8>,
}

impl Pair {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn draw(sealer: &Sealer) -> Result<Pair> {
        let id = SigningKeyId::generate();
        let name = id.to_string();
        let failed = |_| Reason::Internal.because("a signing key could not be made");
        let key = token::SigningKey::from_seed(&name, &random()?).map_err(failed)?;
        let private = key.to_pkcs8().map_err(failed)?;
        Ok(Pair {
            id,
            public_jwk: key.public_jwk(),
            sealed: sealer.seal(&name, &private, &random()?),
        })
    }

    fn document(&self, signs_from_ms: u64) -> control::SigningKey {
        control::SigningKey {
            public_jwk: self.public_jwk.clone(),
            sealed_private_key: self.sealed.clone().into(),
            signs_from_ms,
            accepted_until_ms: 0,
        }
    }
}

/// A key.
///
/// # Errors
/// When there is none with this id.
pub fn find<'a>(now: &Now<'a>, id: SigningKeyId) -> Result<&'a Arc<Stored<control::SigningKey>>> {
    now.catalogue
        .signing_keys
        .get(id)
        .ok_or_else(|| Reason::NotFound.into())
}

/// The key that signs at a time: of those that have begun, the one that began last.
pub fn signer(
    catalogue: &Catalogue,
    ms: u64,
) -> Option<(SigningKeyId, &Arc<Stored<control::SigningKey>>)> {
    let keys = catalogue.signing_keys.iter();
    let begun = keys.filter(|(_, key)| key.value.signs_from_ms <= ms && !is_over(&key.value, ms));
    begun.max_by_key(|(id, key)| (key.value.signs_from_ms, *id))
}

/// Whether nothing that a key has signed can be good.
pub fn is_over(key: &control::SigningKey, ms: u64) -> bool {
    (1..=ms).contains(&key.accepted_until_ms)
}

/// One that signs at once, if there is none.
///
/// # Errors
/// Those of [`succeed`].
pub fn ensure(now: &Now<'_>, pair: &Pair) -> Result<Change> {
    match signer(now.catalogue, now.ms) {
        Some(_) => Ok(Change::none(Answer::gone())),
        None => succeed(now, pair, &Succession { lead_ms: 0 }),
    }
}

/// Whether there is a key whose term is not over.
pub fn is_served(catalogue: &Catalogue, ms: u64) -> bool {
    let mut keys = catalogue.signing_keys.iter();
    keys.any(|(_, key)| key.value.accepted_until_ms == 0 && key.value.signs_from_ms + TERM_MS > ms)
}

/// A successor, unless there is a key whose term is not over.
///
/// # Errors
/// Those of [`succeed`].
pub fn tend(now: &Now<'_>, pair: &Pair) -> Result<Change> {
    match is_served(now.catalogue, now.ms) {
        true => Ok(Change::none(Answer::gone())),
        false => succeed(now, pair, &Succession::default()),
    }
}

/// A new key. Those of before are good until nothing that they can have signed is.
pub fn succeed(now: &Now<'_>, pair: &Pair, succession: &Succession) -> Result<Change> {
    succession.check()?;
    let keys = &now.catalogue.signing_keys;
    if keys.len() >= SIGNING_KEYS_MAX {
        return Err(Reason::LimitReached.because(format!(
            "there are at most {SIGNING_KEYS_MAX} signing keys, those included whose tokens are still good"
        )));
    }
    let has_signer = signer(now.catalogue, now.ms).is_some();
    // Without one that signs there is nothing to wait for.
    let lead_ms = if has_signer { succession.lead_ms } else { 0 };
    let begins_ms = now.ms + lead_ms;
    let key = pair.document(begins_ms);
    let shown = SigningKey::of(pair.id, &now.fresh(key.clone()));
    let location = format!("/v1/signing-keys/{}", pair.id);
    let answer = Answer::created(location, &shown);
    let change = Change::write(now, &pair.id, None, Resource::SigningKey(key), answer);
    let before = keys.iter().filter(|(_, k)| k.value.accepted_until_ms == 0);
    let change = before.fold(change, |mut change, (id, stored)| {
        let last_ms = begins_ms.max(stored.value.signs_from_ms);
        let ending = control::SigningKey {
            accepted_until_ms: last_ms + GRACE_MS,
            ..stored.value.clone()
        };
        change.documents.push(Document {
            id: id.to_string(),
            created_at_ms: stored.created_at_ms,
            updated_at_ms: now.ms,
            resource: Some(Resource::SigningKey(ending)),
            ..Document::default()
        });
        change
    });
    let is = (None, Some(json!(shown)));
    Ok(change.audited(now, None, "signing_key.create", &pair.id, is))
}

/// It is gone, and within a second nothing that it has signed is good.
pub fn delete(now: &Now<'_>, id: SigningKeyId, if_match: &IfMatch) -> Result<Change> {
    let stored = find(now, id)?;
    if_match.check(stored.version)?;
    let was = (Some(json!(SigningKey::of(id, stored))), None);
    Ok(Change::delete(now, &id).audited(now, None, "signing_key.delete", &id, was))
}

#[cfg(test)]
mod tests {
    use highwater_proto::limits::TOKEN_LIFETIME_MS_MAX;

    use super::*;
    use crate::desk::Desk;

    fn pair() -> Pair {
        Pair::draw(&Sealer::new(b"secret of the cluster")).unwrap()
    }

    fn signs(desk: &Desk) -> Option<SigningKeyId> {
        signer(&desk.catalogue, desk.ms).map(|(id, _)| id)
    }

    #[test]
    fn a_key_is_followed_by_another_one_and_refuses_nobody() {
        let mut desk = Desk::new();
        let (first, second) = (pair(), pair());
        desk.make(|now| ensure(now, &first)).unwrap();
        assert_eq!(signs(&desk), Some(first.id));
        desk.make(|now| ensure(now, &pair())).unwrap();
        assert_eq!(desk.written, 0);

        let lead = Succession { lead_ms: 1_000 };
        desk.make(|now| succeed(now, &second, &lead)).unwrap();
        assert_eq!(signs(&desk), Some(first.id));
        let begins_ms = desk.ms + 1_000;
        desk.ms = begins_ms;
        assert_eq!(signs(&desk), Some(second.id));
        let old = desk.catalogue.signing_keys.get(first.id).unwrap();
        // The last token of the old key, as long-lived as one may be, ends before its key does.
        assert!(!is_over(&old.value, begins_ms + TOKEN_LIFETIME_MS_MAX));
        assert!(is_over(&old.value, begins_ms + GRACE_MS));
        let any = IfMatch::default();
        desk.make(|now| delete(now, second.id, &any)).unwrap();
        // The one of before signs until another one is made.
        assert_eq!(signs(&desk), Some(first.id));
    }

    #[test]
    fn a_key_is_given_a_successor_when_its_term_is_over() {
        let mut desk = Desk::new();
        desk.make(|now| tend(now, &pair())).unwrap();
        assert_eq!(desk.written, 1);
        desk.ms += TERM_MS - 10;
        desk.make(|now| tend(now, &pair())).unwrap();
        assert_eq!(desk.written, 0);
        desk.ms += 10;
        desk.make(|now| tend(now, &pair())).unwrap();
        assert_eq!(desk.written, 2);
        desk.make(|now| tend(now, &pair())).unwrap();
        assert_eq!(desk.written, 0);
    }

    #[test]
    fn there_are_so_many_keys() {
        let mut desk = Desk::new();
        for _ in 0..SIGNING_KEYS_MAX {
            desk.make(|now| succeed(now, &pair(), &Succession::default()))
                .unwrap();
        }
        let refused = desk.make(|now| succeed(now, &pair(), &Succession::default()));
        assert_eq!(refused.unwrap_err().reason, Reason::LimitReached);
    }
}
