//! Requests that their sender may repeat (`Idempotency-Key`): the answer is kept, sealed, in the commit that it is
//! about, so a repetition is answered with it by whichever control plane it comes to.

use aws_lc_rs::rand;
use highwater_credentials::Sealer;
use highwater_proto::{
    control::{Document, Request, document::Resource},
    ids::RequestId,
    limits::IDEMPOTENCY_WINDOW_MS,
};
use serde::{Deserialize, Serialize};

use super::{Answer, Change, Now};
use crate::refusal::{Reason, Result};

/// A request that may come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Made of who asks and the key.
    pub id: RequestId,
    /// Of what is asked.
    pub fingerprint: [u8; 32],
}

impl Idempotency {
    /// The request `body` to `path` under a key of an actor's.
    pub fn new(actor: &str, key: &str, method: &str, path: &str, body: &[u8]) -> Idempotency {
        let id = hash(
            "highwater 2026-11 request id",
            &[actor.as_bytes(), key.as_bytes()],
        );
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&id[..16]);
        let asked = [method.as_bytes(), path.as_bytes(), body];
        Idempotency {
            id: RequestId::from_bytes(bytes),
            fingerprint: hash("highwater 2026-11 request fingerprint", &asked),
        }
    }
}

/// Of several parts, each with its length, so that no two lists of parts are alike.
fn hash(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Keeps answers, and finds them again.
pub struct Memory {
    sealer: Sealer,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    answer: Answer,
    /// Documents of the commit before the kept answer's own. The first is what it is about.
    documents: u64,
}

impl Memory {
    /// Seals with the cluster's secret.
    pub fn new(sealer: Sealer) -> Memory {
        Memory { sealer }
    }

    /// The answer that was given to the same request before.
    ///
    /// # Errors
    /// [`Reason::KeyReused`] when it was another request.
    pub fn recall(&self, key: &Idempotency, now: &Now<'_>) -> Result<Option<Answer>> {
        let Some(request) = now.catalogue.requests.get(key.id) else {
            return Ok(None);
        };
        if request.value.forgotten_at_ms <= now.ms {
            return Ok(None);
        }
        if *request.value.fingerprint != key.fingerprint {
            return Err(Reason::KeyReused
                .because("this idempotency key came before with another path, query or body"));
        }
        let sealed = &request.value.sealed_response;
        let opened = self.sealer.open(&key.id.to_string(), sealed);
        let kept = opened.and_then(|kept| serde_json::from_slice::<Kept>(&kept).ok());
        let Kept { answer, documents } = kept.ok_or_else(|| {
            Reason::Internal.because("the answer that was given before cannot be read")
        })?;
        Ok(Some(Answer {
            version: answer
                .version
                .map(|_| request.version.saturating_sub(documents)),
            is_repeated: true,
            ..answer
        }))
    }

    /// Adds to a change the answer that is to be kept of it.
    pub(super) fn remember(
        &self,
        key: Option<&Idempotency>,
        mut change: Change,
        now_ms: u64,
    ) -> Result<Change> {
        let Some(key) = key.filter(|_| !change.documents.is_empty()) else {
            return Ok(change);
        };
        let kept = Kept {
            answer: change.answer.clone(),
            documents: change.documents.len() as u64,
        };
        let id = key.id.to_string();
        let kept = serde_json::to_vec(&kept).map_err(|_| Reason::Internal)?;
        let request = Request {
            fingerprint: key.fingerprint.to_vec().into(),
            status: u32::from(change.answer.status),
            sealed_response: self.sealer.seal(&id, &kept, &random()?).into(),
            forgotten_at_ms: now_ms + IDEMPOTENCY_WINDOW_MS,
        };
        change.documents.push(Document {
            id,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            resource: Some(Resource::Request(request)),
            ..Document::default()
        });
        Ok(change)
    }
}

/// Random bytes.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Reason::Internal.because("no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_actors_own_and_for_one_request() {
        let first = Idempotency::new("user:a", "k", "POST", "/v1/tenants", b"{}");
        assert_eq!(
            first,
            Idempotency::new("user:a", "k", "POST", "/v1/tenants", b"{}")
        );
        assert_ne!(
            first.id,
            Idempotency::new("user:b", "k", "POST", "/v1/tenants", b"{}").id
        );
        assert_ne!(
            first.id,
            Idempotency::new("user:", "ak", "POST", "/v1/tenants", b"{}").id
        );
        let other = Idempotency::new("user:a", "k", "POST", "/v1/tenants", b"{ }");
        assert!(other.id == first.id && other.fingerprint != first.fingerprint);
        let other = Idempotency::new("user:a", "k", "POST", "/v1/tenants{", b"}");
        assert_ne!(other.fingerprint, first.fingerprint);
    }
}
