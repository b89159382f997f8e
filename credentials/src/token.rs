//! Tokens that others have signed (JWT, RFC 7519, with the advice of RFC 8725).
//!
//! Read strictly: one form of each part, no member twice, times as whole numbers, no `crit`. Which algorithm
//! a signature has is the key's to say. Addresses of keys in a token (`jku`, `x5u`) are never looked at.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::limits::{CREDENTIAL_BYTES_MAX, TOKEN_CLAIMS_MAX};
use jsonwebtoken::{Algorithm, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use crate::jwks::KeySet;

/// By how much clocks may differ, in seconds.
const LEEWAY_S: u64 = 30;

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its `iss`, letter for letter.
    pub issuer: &'a str,
    /// One of these is in its `aud`.
    pub audiences: &'a [String],
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// Why a token is not accepted: for whoever looks for the reason, never for who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url, or no JSON objects in them.
    #[error("it is not a token")]
    Malformed,
    /// `crit`, or a type that is not a token's.
    #[error("its header asks for what is not understood")]
    Header,
    /// No key with its `kid`.
    #[error("it is signed with an unknown key")]
    UnknownKey,
    /// Another algorithm than its key's.
    #[error("it names another algorithm than its key is for")]
    Algorithm,
    /// Signed by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else's.
    #[error("it is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for another audience")]
    Audience,
    /// A time that is missing or is no whole number.
    #[error("its times are not whole numbers of seconds")]
    Times,
    /// `exp` is over.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` is to come.
    #[error("it is not valid yet")]
    NotYet,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    members: Members,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// When it was issued, if it says so.
    pub issued_at_ms: Option<u64>,
}

impl Claims {
    /// One of its claims.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.0.get(name)
    }

    /// A claim that is a string, and not an empty one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

/// Checks a token.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(text: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    if text.len() > CREDENTIAL_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = members(header)?;
    let key = keys
        .find(kid(&header)?)
        .ok_or(TokenError::UnknownKey)?;
    let named = header.0.get("alg").and_then(Value::as_str);
    if named != Some(name(key.algorithm)) {
        return Err(TokenError::Algorithm);
    }
    let verified = crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm);
    if !verified.unwrap_or(false) {
        return Err(TokenError::Signature);
    }
    let claims = members(claims)?;
    if claims.0.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(TokenError::Issuer);
    }
    if !is_for(claims.0.get("aud"), expected.audiences) {
        return Err(TokenError::Audience);
    }
    check_times(claims, expected.now_ms)
}

fn kid(header: &Members) -> Result<Option<&str>, TokenError> {
    let is_token = match header.0.get("typ") {
        None => true,
        Some(Value::String(kind)) => {
            kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt")
        }
        Some(_) => false,
    };
    if !is_token || header.0.contains_key("crit") || header.0.contains_key("b64") {
        return Err(TokenError::Header);
    }
    match header.0.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid)),
        Some(_) => Err(TokenError::UnknownKey),
    }
}

fn is_for(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|a| ours.iter().any(|our| our == a));
    match audience {
        Some(Value::Array(several)) => several.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

fn check_times(members: Members, now_ms: u64) -> Result<Claims, TokenError> {
    let ms = |name: &str| match members.0.get(name) {
        None => Ok(None),
        Some(value) => {
            let seconds = value.as_u64().and_then(|s| s.checked_mul(1_000));
            seconds.map(Some).ok_or(TokenError::Times)
        }
    };
    let (expires, not_before, issued) = (ms("exp")?, ms("nbf")?, ms("iat")?);
    let expires_at_ms = expires.ok_or(TokenError::Times)?;
    let leeway_ms = LEEWAY_S * 1_000;
    if expires_at_ms.saturating_add(leeway_ms) <= now_ms {
        return Err(TokenError::Expired);
    }
    let is_to_come = |at: Option<u64>| at.is_some_and(|at| at > now_ms + leeway_ms);
    if is_to_come(not_before) || is_to_come(issued) {
        return Err(TokenError::NotYet);
    }
    Ok(Claims {
        members,
        expires_at_ms,
        issued_at_ms: issued,
    })
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        // Never a public key's.
        _ => "",
    }
}

fn members(part: &str) -> Result<Members, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// The members of an object, none of them twice: which one counts would be anybody's guess.
#[derive(Debug, Clone, PartialEq)]
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() || members.len() > TOKEN_CLAIMS_MAX {
                        return Err(A::Error::custom("a member twice, or too many"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests;
