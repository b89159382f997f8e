//! Issuers as JSON.

use axum::http::Uri;
use highwater_credentials::KeySet;
use highwater_proto::{
    control,
    ids::{IssuerId, ProjectId},
    limits::{ISSUER_AUDIENCES_MAX, ISSUER_BYTES_MAX, TOKEN_LIFETIME_MS_MAX},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    catalogue::Stored,
    refusal::{Result, invalid},
    shapes::{
        Id, IssuerRef, Patch, Permission, ProjectRef, Timestamp, check_name, check_permissions,
        permissions_of, permissions_to,
    },
};

/// Who else signs tokens for a project.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerRef,
    /// The project that its tokens open.
    pub project: ProjectRef,
    /// Its name, which no other issuer of the project has.
    pub name: String,
    /// What tokens say in `iss`, letter for letter.
    pub issuer: String,
    /// One of these is what tokens must say in `aud`.
    pub audiences: Vec<String>,
    /// Its public keys, as a JSON Web Key Set (RFC 7517), when they are not at an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Tokens allow no more than this. Without any, what they say is what they allow.
    pub permissions_max: Vec<Permission>,
    /// Longest time from `iat` to `exp` of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_lifetime_ms_max: Option<u64>,
    /// When the keys that it has now were fetched from their address; missing as long as none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_fetched_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What of an issuer can be set. It has either `jwks` or `jwks_url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its name, which no other issuer of the project has.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What tokens say in `iss`, letter for letter.
    #[schema(min_length = 1, max_length = 1024, example = "https://id.example.com")]
    pub issuer: String,
    /// One of these is what tokens must say in `aud`.
    #[schema(min_items = 1, max_items = 16)]
    pub audiences: Vec<String>,
    /// Its public keys, as a JSON Web Key Set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are: an `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Tokens allow no more than this. Without any, what they say is what they allow.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub permissions_max: Vec<Permission>,
    /// Longest time from `iat` to `exp` of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400000)]
    pub token_lifetime_ms_max: Option<u64>,
}

impl Issuer {
    /// As it is shown.
    pub fn of(id: IssuerId, project: ProjectId, stored: &Stored<control::Issuer>) -> Issuer {
        let settings = IssuerSettings::of(&stored.value);
        Issuer {
            id: Id(id),
            project: Id(project),
            name: settings.name,
            issuer: settings.issuer,
            audiences: settings.audiences,
            jwks: settings.jwks,
            jwks_url: settings.jwks_url,
            permissions_max: settings.permissions_max,
            token_lifetime_ms_max: settings.token_lifetime_ms_max,
            jwks_fetched_at: Timestamp::unless_zero(stored.value.jwks_fetched_at_ms),
            created_at: Timestamp(stored.created_at_ms),
            updated_at: Timestamp(stored.updated_at_ms),
        }
    }
}

/// What of them is to change.
pub type IssuerPatch = Patch<IssuerSettings>;

impl IssuerSettings {
    /// Those of an issuer.
    pub fn of(issuer: &control::Issuer) -> IssuerSettings {
        let is_by_url = !issuer.jwks_url.is_empty();
        IssuerSettings {
            name: issuer.name.clone(),
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            jwks: (!is_by_url).then(|| serde_json::from_str(&issuer.jwks).unwrap_or_default()),
            jwks_url: is_by_url.then(|| issuer.jwks_url.clone()),
            permissions_max: permissions_of(&issuer.permissions_max),
            token_lifetime_ms_max: (issuer.token_lifetime_ms_max > 0)
                .then_some(issuer.token_lifetime_ms_max),
        }
    }

    /// # Errors
    /// Which setting cannot be.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        check_text("issuer", &self.issuer)?;
        if self.audiences.is_empty() || self.audiences.len() > ISSUER_AUDIENCES_MAX {
            return Err(invalid(format!(
                "`audiences` has from 1 to {ISSUER_AUDIENCES_MAX}"
            )));
        }
        for audience in &self.audiences {
            check_text("audiences", audience)?;
        }
        match (&self.jwks, &self.jwks_url) {
            (Some(jwks), None) => {
                KeySet::read(&jwks.to_string())
                    .map_err(|error| invalid(format!("`jwks`: {error}")))?;
            }
            (None, Some(url)) => check_url(url)?,
            _ => return Err(invalid("give either `jwks` or `jwks_url`")),
        }
        check_permissions("permissions_max", &self.permissions_max)?;
        let lifetime = self.token_lifetime_ms_max.unwrap_or(1);
        match (1..=TOKEN_LIFETIME_MS_MAX).contains(&lifetime) {
            true => Ok(()),
            false => Err(invalid(format!(
                "`token_lifetime_ms_max` is from 1 to {TOKEN_LIFETIME_MS_MAX}"
            ))),
        }
    }

    /// Puts them in the place of an issuer's. Keys that were fetched from another address are forgotten.
    pub fn put_into(&self, issuer: &mut control::Issuer) {
        issuer.name = self.name.clone();
        issuer.issuer = self.issuer.clone();
        issuer.audiences = self.audiences.clone();
        let url = self.jwks_url.clone().unwrap_or_default();
        if issuer.jwks_url != url || url.is_empty() {
            issuer.jwks = self.jwks.as_ref().map(Value::to_string).unwrap_or_default();
            issuer.jwks_fetched_at_ms = 0;
        }
        issuer.jwks_url = url;
        issuer.permissions_max = permissions_to(&self.permissions_max);
        issuer.token_lifetime_ms_max = self.token_lifetime_ms_max.unwrap_or_default();
    }
}

fn check_text(member: &str, text: &str) -> Result<()> {
    let is_text =
        !text.is_empty() && text.len() <= ISSUER_BYTES_MAX && !text.chars().any(char::is_control);
    match is_text {
        true => Ok(()),
        false => Err(invalid(format!(
            "`{member}`: from 1 to {ISSUER_BYTES_MAX} bytes without control characters"
        ))),
    }
}

fn check_url(url: &str) -> Result<()> {
    let parsed = url
        .parse::<Uri>()
        .ok()
        .filter(|_| url.len() <= ISSUER_BYTES_MAX);
    let authority = parsed.as_ref().and_then(Uri::authority);
    let is_https = parsed.as_ref().and_then(Uri::scheme_str) == Some("https");
    // A password in an address would be shown to all who may read.
    match is_https && authority.is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty()) {
        true => Ok(()),
        false => Err(invalid(
            "`jwks_url` is an address like https://id.example.com/jwks.json",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> IssuerSettings {
        IssuerSettings {
            name: "login".into(),
            issuer: "https://id.example.com".into(),
            audiences: vec!["app".into()],
            jwks: None,
            jwks_url: Some("https://id.example.com/jwks.json".into()),
            permissions_max: Vec::new(),
            token_lifetime_ms_max: Some(1),
        }
    }

    #[test]
    fn an_issuer_is_kept_as_it_is_shown() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let inline = IssuerSettings {
            jwks: Some(json!({"keys": [key]})),
            jwks_url: None,
            ..settings()
        };
        for settings in [settings(), inline] {
            assert_eq!(settings.check(), Ok(()));
            let mut stored = control::Issuer::default();
            settings.put_into(&mut stored);
            assert_eq!(IssuerSettings::of(&stored), settings);
        }
    }

    #[test]
    fn an_issuer_that_could_not_be_trusted_is_refused() {
        let check = |change: fn(&mut IssuerSettings), expected: &str| {
            let mut settings = settings();
            change(&mut settings);
            let detail = settings.check().unwrap_err().detail;
            assert!(detail.contains(expected), "{detail} lacks {expected}");
        };
        check(|s| s.jwks_url = None, "either");
        check(|s| s.jwks = Some(json!({"keys": []})), "either");
        check(
            |s| (s.jwks_url, s.jwks) = (None, Some(json!({"keys": [{"kty": "oct", "k": "AA"}]}))),
            "secret",
        );
        check(
            |s| s.jwks_url = Some("http://id.example.com/".into()),
            "jwks_url",
        );
        check(
            |s| s.jwks_url = Some("https://u:p@id.example.com/".into()),
            "jwks_url",
        );
        check(
            |s| s.jwks_url = Some("file:///etc/passwd".into()),
            "jwks_url",
        );
        check(|s| s.audiences.clear(), "audiences");
        check(|s| s.audiences.push(String::new()), "audiences");
        check(|s| s.issuer.clear(), "issuer");
        check(|s| s.issuer = "a\0b".into(), "issuer");
        check(
            |s| s.token_lifetime_ms_max = Some(0),
            "token_lifetime_ms_max",
        );
    }
}
