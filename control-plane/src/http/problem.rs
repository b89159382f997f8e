//! A refusal as HTTP says it: a problem document (RFC 9457).

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Content, Ref, RefOr, response},
};

use crate::refusal::{Reason, Refusal};

/// Why a request was not carried out (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The name of the kind; nothing is to be fetched from it.
    #[schema(example = "urn:highwater:error:not_found")]
    r#type: String,
    /// The kind, for people.
    title: &'static str,
    /// HTTP status.
    #[schema(value_type = u16)]
    status: u16,
    /// The stable code.
    #[schema(example = "not_found")]
    code: &'static str,
    /// This case, for people.
    detail: String,
    /// What to do now.
    next_step: &'static str,
    /// When a retry makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// What to name in a question about it.
    request_id: String,
}

/// Kept beside the response until its request id is known, in [`super::around`].
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.reason.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// Fills the response to a request in with the refusal.
pub fn fill(response: &mut Response, refusal: Refusal, request_id: &str) {
    let Refusal { reason, detail } = refusal;
    let problem = Problem {
        r#type: format!("urn:highwater:error:{}", reason.code()),
        title: reason.title(),
        status: reason.status().as_u16(),
        code: reason.code().name(),
        detail,
        next_step: reason.next_step(),
        retry_after_ms: reason.retry_after_ms(),
        request_id: request_id.to_owned(),
    };
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(delay) = reason.retry_after_ms() {
        headers.insert(RETRY_AFTER, delay.div_ceil(1_000).max(1).into());
    }
    if reason.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"highwater\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = Body::from(body);
}

/// What may be answered to a request that changes nothing, for the description of the interface.
pub struct ReadRefusals;

/// The same for a request that changes something.
pub struct WriteRefusals;

/// What only changes are refused for.
const OF_WRITES: &[u16] = &[409, 412, 413, 415, 422];

impl IntoResponses for ReadRefusals {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        named(|status| !OF_WRITES.contains(&status))
    }
}

impl IntoResponses for WriteRefusals {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        named(|_| true)
    }
}

/// The answers of some statuses, by the names of their descriptions.
fn named(may_be: impl Fn(u16) -> bool) -> BTreeMap<String, RefOr<response::Response>> {
    let statuses = descriptions().into_keys().filter(|status| may_be(*status));
    statuses
        .map(|status| {
            let reference = Ref::from_response_name(name(status));
            (status.to_string(), RefOr::Ref(reference))
        })
        .collect()
}

fn name(status: u16) -> String {
    format!("Refused{status}")
}

/// What is answered with each status, under the name that operations refer to it by.
pub fn refusals() -> impl Iterator<Item = (String, response::Response)> {
    let schema = Ref::from_schema_name("Problem");
    descriptions().into_iter().map(move |(status, lines)| {
        let content = Content::new(Some(schema.clone()));
        let response = response::ResponseBuilder::new()
            .description(lines.join("; "))
            .content("application/problem+json", content)
            .build();
        (name(status), response)
    })
}

fn descriptions() -> BTreeMap<u16, Vec<String>> {
    let mut descriptions: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    // Wrong methods and paths are no operations.
    let is_of_operations = |r: &Reason| !matches!(r, Reason::NoSuchMethod | Reason::NoSuchPath);
    for reason in Reason::all().filter(is_of_operations) {
        let line = format!("`{}`: {}", reason.code(), reason.title());
        let status = reason.status().as_u16();
        descriptions.entry(status).or_default().push(line);
    }
    descriptions
}
