//! API keys: `hw_<id>_<secret>`, of which only the id and a keyed hash of the secret are kept.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::{ids::KeyId, limits::CREDENTIAL_BYTES_MAX};
use subtle::ConstantTimeEq;

/// What begins the text of every API key.
pub const KEY_PREFIX: &str = "hw_";

/// Keyed BLAKE3 hash of a key's secret. The key of the hash is the cluster's secret, so a copy of
/// the catalogue alone cannot be searched for weak secrets.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// From the bytes of [`SecretHash::as_bytes`].
    pub const fn from_bytes(bytes: [u8; 32]) -> SecretHash {
        SecretHash(bytes)
    }

    /// Its bytes, to be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &SecretHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Makes and reads API keys.
#[derive(Clone)]
pub struct KeyHasher {
    key: [u8; 32],
}

impl KeyHasher {
    /// From the secret that the cluster shares.
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

    /// The id and the secret's hash of a text that has the form of an API key.
    pub fn read_key(&self, text: &str) -> Option<(KeyId, SecretHash)> {
        if text.len() > CREDENTIAL_BYTES_MAX {
            return None;
        }
        let (id, secret) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let id = format!("{}{id}", KeyId::PREFIX).parse().ok()?;
        // Hashed whether or not there is such a key: an unknown id takes as long as a wrong secret.
        Some((id, self.hash(secret)))
    }

    fn hash(&self, secret: &str) -> SecretHash {
        SecretHash(*blake3::keyed_hash(&self.key, secret.as_bytes()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_is_of_its_cluster() {
        let hasher = KeyHasher::new(b"secret of the cluster");
        let id = KeyId::generate();
        let (text, hash) = hasher.make_key(id, &[9; 32]);
        assert_eq!(hasher.read_key(&text), Some((id, hash)));
        let elsewhere = KeyHasher::new(b"another secret");
        let (same_id, other_hash) = elsewhere.read_key(&text).unwrap();
        assert!(same_id == id && other_hash != hash);
        let mut wrong = text.clone();
        wrong.pop();
        assert_ne!(hasher.read_key(&wrong).unwrap().1, hash);
        assert!(!format!("{hash:?}").contains('9'));
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let hasher = KeyHasher::new(b"secret of the cluster");
        let long = format!("hw_{}_{}", "0".repeat(32), "x".repeat(CREDENTIAL_BYTES_MAX));
        for text in ["", "hw_", "hw__", "Bearer x", "hw_x_y", "key_1_2", &long] {
            assert_eq!(hasher.read_key(text), None, "{text}");
        }
    }
}
