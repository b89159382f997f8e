//! Public keys that tokens are signed with, as a JSON Web Key Set (RFC 7517).
//!
//! A key says itself which algorithm it is for, in its `alg` or by its kind. What a token says about
//! algorithms is compared with that, and decides nothing.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::limits::{JWKS_BYTES_MAX, JWKS_KEYS_MAX};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Fewest bits of an RSA key, and most of them: checking takes longer with each.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Keys to check tokens with.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: Option<String>,
    digest: [u8; 16],
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// Why a text is no set of public keys. No message repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than [`JWKS_BYTES_MAX`].
    #[error("a key set has at most {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// Not such a document.
    #[error("a key set is a JSON object with an array `keys`")]
    Malformed,
    /// More than [`JWKS_KEYS_MAX`].
    #[error("a key set has at most {JWKS_KEYS_MAX} keys")]
    TooMany,
    /// A symmetric or private key, which is nobody else's business.
    #[error("key {0} is secret; a key set holds public keys only")]
    Secret(usize),
    /// A key whose parts are missing or wrong.
    #[error("key {0} cannot be used: {1}")]
    Unusable(usize, &'static str),
    /// Two keys with one `kid`.
    #[error("key {0} has the `kid` of another one")]
    Repeated(usize),
    /// Nothing to check a signature with.
    #[error(
        "there is no key for EdDSA, ES256, ES384, RS256 or PS256 signatures and their larger kin"
    )]
    Empty,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Map<String, Value>>,
}

impl KeySet {
    /// Reads a set. Keys of kinds that are unknown here, or that are for something else than signatures, are left
    /// out.
    ///
    /// # Errors
    /// [`KeySetError`], with the place of the key.
    pub fn read(text: &str) -> Result<KeySet, KeySetError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: Document = serde_json::from_str(text).map_err(|_| KeySetError::Malformed)?;
        if document.keys.len() > JWKS_KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let (mut keys, mut ids) = (Vec::new(), HashSet::new());
        for (index, members) in document.keys.iter().enumerate() {
            if members.contains_key("d") || members.contains_key("k") {
                return Err(KeySetError::Secret(index));
            }
            let Some(key) = Key::read(members).map_err(|e| KeySetError::Unusable(index, e))? else {
                continue;
            };
            if !ids.insert(key.id.clone()) {
                return Err(KeySetError::Repeated(index));
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(KeySetError::Empty),
            false => Ok(KeySet { keys }),
        }
    }

    /// Whether there is a key with this id.
    pub fn has(&self, id: &str) -> bool {
        self.digest(id).is_some()
    }

    /// What tells the key with this id from another one that may get the same id.
    pub fn digest(&self, id: &str) -> Option<[u8; 16]> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.id.as_deref() == Some(id))
            .map(|key| key.digest)
    }

    /// The key that a token names. One that names none means the only key there is.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.keys.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Result<Option<Key>, &'static str> {
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err("a member that should be a string is none"),
        };
        if text("use")?.is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let (kind, curve, named) = (text("kty")?, text("crv")?, text("alg")?);
        let kind = kind.ok_or("`kty` is missing")?;
        let Some(algorithm) = algorithm(kind, curve, named)? else {
            return Ok(None);
        };
        let part = |name: &str| text(name)?.ok_or("a part of the key is missing");
        let key = match kind {
            "RSA" => {
                let (modulus, exponent) = (part("n")?, part("e")?);
                let bits = 8 * bytes(modulus)?.len();
                if !RSA_BITS.contains(&bits) {
                    return Err("an RSA key has from 2048 to 8192 bits");
                }
                DecodingKey::from_rsa_components(modulus, exponent)
            }
            "EC" => {
                let (x, y) = (part("x")?, part("y")?);
                let length = if curve == Some("P-384") { 48 } else { 32 };
                if bytes(x)?.len() != length || bytes(y)?.len() != length {
                    return Err("its coordinates do not have the length of the curve's");
                }
                DecodingKey::from_ec_components(x, y)
            }
            _ => {
                let x = part("x")?;
                if bytes(x)?.len() != 32 {
                    return Err("an Ed25519 key has 32 bytes");
                }
                DecodingKey::from_ed_components(x)
            }
        };
        Ok(Some(Key {
            id: text("kid")?.map(str::to_owned),
            digest: digest(members),
            algorithm,
            key: key.map_err(|_| "a part of the key is not base64url")?,
        }))
    }
}

/// Of all members, in the order of their names.
fn digest(members: &Map<String, Value>) -> [u8; 16] {
    let mut names: Vec<_> = members.keys().collect();
    names.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for name in names {
        hasher.update(format!("{name:?}:{}\n", members[name]).as_bytes());
    }
    let digest = hasher.finalize();
    *digest.as_bytes().first_chunk().expect("32 bytes")
}

/// What a key of this kind is for; none when that is unknown here.
fn algorithm(
    kind: &str,
    curve: Option<&str>,
    named: Option<&str>,
) -> Result<Option<Algorithm>, &'static str> {
    let of_kind: &[(&str, Algorithm)] = match (kind, curve) {
        ("OKP", Some("Ed25519")) => &[("EdDSA", Algorithm::EdDSA), ("Ed25519", Algorithm::EdDSA)],
        ("EC", Some("P-256")) => &[("ES256", Algorithm::ES256)],
        ("EC", Some("P-384")) => &[("ES384", Algorithm::ES384)],
        ("RSA", _) => &[
            ("RS256", Algorithm::RS256),
            ("RS384", Algorithm::RS384),
            ("RS512", Algorithm::RS512),
            ("PS256", Algorithm::PS256),
            ("PS384", Algorithm::PS384),
            ("PS512", Algorithm::PS512),
        ],
        _ => return Ok(None),
    };
    match named {
        None => Ok(Some(of_kind[0].1)),
        Some(name) => match of_kind.iter().find(|(known, _)| *known == name) {
            Some((_, algorithm)) => Ok(Some(*algorithm)),
            // An encryption key, say.
            None if kind == "RSA" || name.starts_with("ECDH") => Ok(None),
            None => Err("`alg` does not go with `kty`"),
        },
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| "a part of the key is not base64url")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn what_may_be_in_a_set_and_what_may_not() {
        let set = |keys: &str| KeySet::read(&format!("{{\"keys\":[{keys}]}}"));
        assert!(set(ED).unwrap().find(Some("a")).is_some());
        assert!(set(ED).unwrap().find(None).is_some());
        assert!(set(ED).unwrap().find(Some("b")).is_none());
        let two = format!("{ED},{}", ED.replace("\"a\"", "\"b\""));
        assert!(set(&two).unwrap().find(None).is_none());

        let error = |keys: &str| set(keys).unwrap_err();
        assert_eq!(error(""), KeySetError::Empty);
        assert_eq!(error(&format!("{ED},{ED}")), KeySetError::Repeated(1));
        assert_eq!(
            error(r#"{"kty":"oct","k":"c2VjcmV0"}"#),
            KeySetError::Secret(0)
        );
        assert_eq!(
            error(&ED.replace("\"x\"", "\"d\":\"q\",\"x\"")),
            KeySetError::Secret(0)
        );
        assert_eq!(
            error(r#"{"kty":"OKP","crv":"X25519","x":"q"}"#),
            KeySetError::Empty
        );
        assert_eq!(
            error(&ED.replace("\"kid\"", "\"use\":\"enc\",\"kid\"")),
            KeySetError::Empty
        );
        for (keys, expected) in [
            (ED.replace("11qY", ""), "32 bytes"),
            (
                ED.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\""),
                "does not go",
            ),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.into(), "2048"),
            (
                r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}"#.into(),
                "coordinates",
            ),
            (r#"{"kid":"a"}"#.into(), "`kty` is missing"),
        ] {
            let error = error(&keys).to_string();
            assert!(error.contains(expected), "{error}");
        }
        for text in ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[1]}"] {
            assert_eq!(
                KeySet::read(text).unwrap_err(),
                KeySetError::Malformed,
                "{text}"
            );
        }
        assert_eq!(
            KeySet::read(&" ".repeat(JWKS_BYTES_MAX + 1)).unwrap_err(),
            KeySetError::TooLarge
        );
    }
}
