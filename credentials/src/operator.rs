//! The key of a platform's operator, with which a control plane is set up before it knows anybody: `hwa_<secret>`.
//! The control plane is given its hash only.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::limits::CREDENTIAL_BYTES_MAX;
use subtle::ConstantTimeEq;

/// What begins the text of an operator's key.
pub const OPERATOR_PREFIX: &str = "hwa_";

/// BLAKE3 hash of an operator's key. Its secret is 32 random bytes, so the hash needs no key of its own.
#[derive(Clone, Copy)]
pub struct OperatorKeyHash([u8; 32]);

/// A text that is no hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of an operator's key is 64 hexadecimal digits")]
pub struct HashError;

impl OperatorKeyHash {
    /// The text an operator sends and the hash to configure, for 32 random bytes.
    pub fn make_key(random: &[u8; 32]) -> (String, OperatorKeyHash) {
        let text = format!("{OPERATOR_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let hash = OperatorKeyHash(*blake3::hash(text.as_bytes()).as_bytes());
        (text, hash)
    }

    /// The hash of a key.
    pub fn of(key: &str) -> OperatorKeyHash {
        OperatorKeyHash(*blake3::hash(key.as_bytes()).as_bytes())
    }

    /// Whether a text that came is the key. The hashes are compared in constant time.
    pub fn is_of(&self, text: &str) -> bool {
        let is_key = text.len() <= CREDENTIAL_BYTES_MAX && text.starts_with(OPERATOR_PREFIX);
        let hash = blake3::hash(text.as_bytes());
        is_key && bool::from(hash.as_bytes().ct_eq(&self.0))
    }
}

impl FromStr for OperatorKeyHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<OperatorKeyHash, HashError> {
        let hash = blake3::Hash::from_hex(text.trim()).map_err(|_| HashError)?;
        Ok(OperatorKeyHash(*hash.as_bytes()))
    }
}

/// As it is configured.
impl fmt::Display for OperatorKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for OperatorKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let (text, hash) = OperatorKeyHash::make_key(&[3; 32]);
        let configured: OperatorKeyHash = hash.to_string().parse().unwrap();
        assert!(configured.is_of(&text));
        let (other, _) = OperatorKeyHash::make_key(&[4; 32]);
        for text in [
            "",
            "hwa_",
            &other,
            &text[..text.len() - 1],
            &hash.to_string(),
        ] {
            assert!(!configured.is_of(text), "{text}");
        }
        assert!("12".parse::<OperatorKeyHash>().is_err());
    }
}
