//! Tokens that others have signed, or the service itself (JWT, RFC 7519, with the advice of RFC 8725).
//!
//! Read strictly: one form of each part, no member twice, times as whole numbers, no `crit`. Which algorithm
//! a signature has is the key's to say. Addresses of keys in a token (`jku`, `x5u`) are never looked at.
//!
//! Whose keys a token is to be checked with may depend on what it says itself: [`Unverified`] is for that.

mod mint;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::{
    limits::{CREDENTIAL_BYTES_MAX, TOKEN_CLAIMS_MAX, TOKEN_LEEWAY_MS},
    names::TopicFilter,
};
use jsonwebtoken::{Algorithm, crypto};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use crate::jwks::KeySet;

pub use mint::{ServiceClaims, SigningKey, SigningKeyError};

/// What the service's own tokens say in `iss`.
pub const SERVICE_ISSUER: &str = "highwater";

/// What begins every token: a JSON object in base64url.
pub const TOKEN_PREFIX: &str = "ey";

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
    not_before_ms: Option<u64>,
}

/// Operations on the topics of a filter: what the claim `permissions` is a list of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `publish`, `subscribe`, `manage`.
    pub operations: Vec<String>,
    /// A topic filter, in which `${sub}` stands for the token's subject.
    pub topics: String,
}

/// What stands for the token's subject in a filter.
const SUBJECT: &str = "${sub}";

impl Grant {
    /// The filter for a token of this subject. In a filter a subject is a level, or a part of one, and nothing that
    /// could match more; there is no filter for one that cannot be.
    pub fn filter(&self, subject: Option<&str>) -> Option<TopicFilter> {
        let topics = match (self.topics.contains(SUBJECT), subject) {
            (false, _) => Cow::from(&self.topics),
            (true, Some(subject)) if is_level(subject) => {
                self.topics.replace(SUBJECT, subject).into()
            }
            (true, _) => return None,
        };
        TopicFilter::try_from(&*topics).ok()
    }
}

fn is_level(subject: &str) -> bool {
    !subject.is_empty() && !subject.starts_with('$') && !subject.contains(['/', '+', '#', '\0'])
}

impl Claims {
    fn of(members: Members) -> Result<Claims, TokenError> {
        let ms = |name: &str| match members.0.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds = value.as_u64().and_then(|s| s.checked_mul(1_000));
                seconds.map(Some).ok_or(TokenError::Times)
            }
        };
        Ok(Claims {
            expires_at_ms: ms("exp")?.ok_or(TokenError::Times)?,
            issued_at_ms: ms("iat")?,
            not_before_ms: ms("nbf")?,
            members,
        })
    }

    /// Whether it is good at a time, in milliseconds since the Unix epoch. Clocks of those who sign may be a
    /// little ahead of ours; when it ends is said by ours.
    ///
    /// # Errors
    /// [`TokenError::Expired`] or [`TokenError::NotYet`]
    pub fn check_times(&self, now_ms: u64) -> Result<(), TokenError> {
        if self.expires_at_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        let soon_ms = now_ms.saturating_add(TOKEN_LEEWAY_MS);
        let begins = [self.issued_at_ms, self.not_before_ms];
        match begins.into_iter().flatten().any(|at| at > soon_ms) {
            true => Err(TokenError::NotYet),
            false => Ok(()),
        }
    }

    /// Whom it is for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.members.audiences()
    }

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
    let token = Unverified::read(text)?;
    if token.text("iss") != Some(expected.issuer) {
        return Err(TokenError::Issuer);
    }
    let mut audiences = token.audiences();
    if !audiences.any(|aud| expected.audiences.iter().any(|our| our == aud)) {
        return Err(TokenError::Audience);
    }
    drop(audiences);
    let claims = token.verify(keys)?;
    claims.check_times(expected.now_ms)?;
    Ok(claims)
}

/// A token whose signature nobody has checked: for looking up whose keys it should be checked with, and for
/// nothing else.
#[derive(Debug)]
pub struct Unverified<'a> {
    message: &'a str,
    signature: &'a str,
    header: Members,
    claims: Members,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenError::Malformed`]
    pub fn read(text: &'a str) -> Result<Unverified<'a>, TokenError> {
        if text.len() > CREDENTIAL_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        Ok(Unverified {
            message,
            signature,
            header: members(header)?,
            claims: members(claims)?,
        })
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.0.get(name)?.as_str()
    }

    /// Whom it is for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.claims.audiences()
    }

    /// The key that it names.
    pub fn key_id(&self) -> Option<&str> {
        kid(&self.header).ok().flatten()
    }

    /// What it says, if one of the keys has signed it. Its times are looked at by [`Claims::check_times`].
    ///
    /// # Errors
    /// What is wrong with its header, its signature, or the form of its times.
    pub fn verify(self, keys: &KeySet) -> Result<Claims, TokenError> {
        let key = keys.find(kid(&self.header)?);
        let key = key.ok_or(TokenError::UnknownKey)?;
        let named = self.header.0.get("alg").and_then(Value::as_str);
        if named != Some(name(key.algorithm)) {
            return Err(TokenError::Algorithm);
        }
        let message = self.message.as_bytes();
        let verified = crypto::verify(self.signature, message, &key.key, key.algorithm);
        match verified.unwrap_or(false) {
            true => Claims::of(self.claims),
            false => Err(TokenError::Signature),
        }
    }
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
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// The members of an object, none of them twice: which one counts would be anybody's guess.
#[derive(Debug, Clone, PartialEq)]
struct Members(BTreeMap<String, Value>);

impl Members {
    fn audiences(&self) -> impl Iterator<Item = &str> {
        let several = match self.0.get("aud") {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        several.iter().filter_map(Value::as_str)
    }
}

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
