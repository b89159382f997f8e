//! A refusal as HTTP says it: a problem document (RFC 9457) with the stable code and what to do next.

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use highwater_broker::Refusal;
use highwater_proto::ErrorCode;
use serde::Serialize;

use crate::{gateway::Door, json::Verdict, metrics::Protocol};

/// Answers with a refusal, and counts it.
pub fn refuse(door: &Door, protocol: Protocol, refusal: Refusal) -> Response {
    door.metrics.refused(protocol, &refusal);
    Problem(refusal).into_response()
}

/// A refusal on its way to the client.
pub struct Problem(pub Refusal);

/// The members of the document. `type` is a name, not an address: nothing is to be fetched from it.
#[derive(Debug, Serialize)]
pub struct Document {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Document {
    /// What the document says of a refusal.
    pub fn of(refusal: &Refusal) -> Document {
        let code = refusal.code();
        Document {
            r#type: format!("urn:highwater:error:{code}"),
            title: code.next_step(),
            status: code.http_status(),
            detail: refusal.to_string(),
            verdict: Verdict::of(refusal),
        }
    }
}

impl Problem {
    /// The response with another status than the code's own.
    pub fn with_status(self, status: StatusCode) -> Response {
        let mut document = Document::of(&self.0);
        document.status = status.as_u16();
        respond(&self.0, status, &document)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code().http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        respond(&self.0, status, &Document::of(&self.0))
    }
}

/// A problem document, or one with more members, and the headers that belong to the refusal.
pub fn respond(refusal: &Refusal, status: StatusCode, document: &impl Serialize) -> Response {
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(delay) = retry_delay_ms(refusal) {
        headers.insert(RETRY_AFTER, delay.div_ceil(1_000).max(1).into());
    }
    if refusal.code() == ErrorCode::Unauthenticated {
        let challenge = HeaderValue::from_static("Bearer realm=\"highwater\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// When to retry: as the refusal says, or a second for what may be retried.
pub fn retry_delay_ms(refusal: &Refusal) -> Option<u64> {
    let default = || refusal.code().is_retryable().then_some(1_000);
    refusal.delay_ms().or_else(default)
}
