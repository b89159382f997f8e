//! Signs tokens with the service's own keys (Ed25519).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::json;

use super::Grant;

/// A private key of the service.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

/// What the service's own tokens say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceClaims {
    /// [`SERVICE_ISSUER`](super::SERVICE_ISSUER)
    pub iss: &'static str,
    /// The project: `prj_…`
    pub aud: String,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Its own name.
    pub jti: String,
    /// When it was signed, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// What it allows.
    pub permissions: Vec<Grant>,
    /// The API key that it was minted with, and ends with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highwater_key: Option<String>,
}

/// A private key that cannot be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no Ed25519 key in PKCS#8")]
pub struct SigningKeyError;

impl SigningKey {
    /// A key of this id from 32 random bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`SigningKeyError`]
    pub fn from_seed(id: &str, seed: &[u8; 32]) -> Result<SigningKey, SigningKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningKeyError)?;
        let id = id.to_owned();
        Ok(SigningKey { id, pair })
    }

    /// The key in the bytes of [`SigningKey::to_pkcs8`].
    ///
    /// # Errors
    /// [`SigningKeyError`]
    pub fn from_pkcs8(id: &str, bytes: &[u8]) -> Result<SigningKey, SigningKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| SigningKeyError)?;
        let id = id.to_owned();
        Ok(SigningKey { id, pair })
    }

    /// The key, to be sealed and kept (RFC 5958).
    ///
    /// # Errors
    /// [`SigningKeyError`]
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, SigningKeyError> {
        let pkcs8 = self.pair.to_pkcs8().map_err(|_| SigningKeyError)?;
        Ok(pkcs8.as_ref().to_vec())
    }

    /// Its public half as a JSON Web Key (RFC 8037), whose `kid` is the key's id.
    pub fn public_jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": x,
            "alg": "EdDSA", "use": "sig", "kid": self.id,
        });
        jwk.to_string()
    }

    /// A token that says this.
    pub fn sign(&self, claims: &ServiceClaims) -> String {
        self.sign_any(claims)
    }

    /// A token with these claims.
    ///
    /// # Panics
    /// When they cannot be JSON.
    pub fn sign_any(&self, claims: &impl Serialize) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.id});
        let claims = serde_json::to_vec(claims).expect("claims are JSON");
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Expected, KeySet, SERVICE_ISSUER, verify};

    #[test]
    fn a_token_says_what_it_was_signed_with() {
        let claims = ServiceClaims {
            iss: SERVICE_ISSUER,
            aud: "prj_1".to_owned(),
            sub: Some("alice".to_owned()),
            jti: "1".to_owned(),
            iat: 1_000,
            exp: 1_600,
            permissions: vec![Grant {
                operations: vec!["publish".to_owned()],
                topics: "users/${sub}/#".to_owned(),
            }],
            highwater_key: None,
        };
        let key = SigningKey::from_seed("sig_1", &[7; 32]).unwrap();
        let again = SigningKey::from_pkcs8("sig_1", &key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        let keys = format!("{{\"keys\":[{}]}}", key.public_jwk());
        let keys = KeySet::read(&keys).unwrap();
        let expected = Expected {
            issuer: SERVICE_ISSUER,
            audiences: &["prj_1".to_owned()],
            now_ms: 1_599_999,
        };
        for key in [&key, &again] {
            let read = verify(&key.sign(&claims), &keys, &expected).unwrap();
            assert_eq!(read.text("sub"), Some("alice"));
            assert_eq!(read.expires_at_ms, 1_600_000);
            let permissions = read.get("permissions").unwrap().clone();
            let permissions: Vec<Grant> = serde_json::from_value(permissions).unwrap();
            assert_eq!(permissions, claims.permissions);
        }
        let other = SigningKey::from_seed("sig_1", &[8; 32]).unwrap();
        assert!(verify(&other.sign(&claims), &keys, &expected).is_err());
        assert_eq!(format!("{key:?}"), "SigningKey(sig_1)");
    }
}
