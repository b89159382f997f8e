//! `If-Match` (RFC 9110, section 13.1.1): a change is made only to the version that its sender has seen.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header::IF_MATCH, request::Parts},
};

use utoipa::IntoParams;

use crate::{
    api::Api,
    refusal::{Reason, Refusal, Result, invalid},
};

/// The versions that may be changed; any, when it was not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<String>>);

/// As it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub struct Precondition {
    /// The change is made only to the version with this `ETag`.
    #[param(rename = "If-Match", pattern = r#"^(\*|"[0-9]+")$"#)]
    if_match: Option<String>,
}

impl IfMatch {
    fn read(headers: &HeaderMap) -> Result<IfMatch> {
        let mut tags = Vec::new();
        for value in headers.get_all(IF_MATCH) {
            let text = value
                .to_str()
                .map_err(|_| invalid("`If-Match` is malformed"))?;
            tags.extend(text.split(',').map(|tag| tag.trim().to_owned()));
        }
        let is_quoted = |tag: &String| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')
        };
        if !tags.iter().all(is_quoted) {
            return Err(invalid("`If-Match` is an ETag in its quotes, or *"));
        }
        Ok(IfMatch((!tags.is_empty()).then_some(tags)))
    }

    /// # Errors
    /// [`Reason::Changed`] when this version is not meant.
    pub fn check(&self, version: u64) -> Result<()> {
        let is_meant = |tag: &String| tag == "*" || *tag == format!("\"{version}\"");
        match &self.0 {
            Some(tags) if !tags.iter().any(is_meant) => Err(Reason::Changed.into()),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<Arc<Api>> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<IfMatch> {
        IfMatch::read(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_met_by_its_own_tag() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, value.parse().unwrap());
            IfMatch::read(&headers)
        };
        assert_eq!(IfMatch::default().check(7), Ok(()));
        for value in ["\"7\"", "*", "\"6\", \"7\""] {
            assert_eq!(read(value).unwrap().check(7), Ok(()), "{value}");
        }
        for value in ["\"8\"", "W/\"7\"", "\"\"", "\"07\""] {
            assert_eq!(
                read(value).unwrap().check(7).unwrap_err().reason,
                Reason::Changed
            );
        }
        for value in ["7", "\"", "", "\"7\","] {
            assert_eq!(read(value).unwrap_err().reason, Reason::Invalid, "{value}");
        }
    }
}
