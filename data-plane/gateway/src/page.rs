//! The web page that a request comes from: whether its origin is one that the project allows.
//!
//! A browser says where a page is from in `Origin` (RFC 6454), and nobody else needs to: a request without
//! the header is not restricted, nor is one of a page that this service's own address has served. All
//! others must be in the `origins` of the project, which is known once the credential is; so this is
//! looked at wherever a credential is, and nothing was done before. The answer is `forbidden`.

use highwater_broker::{Refusal, Result, catalogue::Project};
use highwater_proto::ErrorCode;
use http::{
    HeaderMap, HeaderValue, Request,
    header::{HOST, ORIGIN},
};

/// The origin of a page of another place, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Page(Option<Box<str>>);

impl Page {
    /// The page of a request that went through [`crate::cors`].
    pub fn of(headers: &HeaderMap) -> Page {
        let origin = headers.get(ORIGIN);
        // What cannot be read is no origin that anybody allows.
        Page(origin.map(|value| value.to_str().unwrap_or("null").into()))
    }

    /// # Errors
    /// `forbidden` when the project does not allow it.
    pub fn require(&self, project: &Project) -> Result<()> {
        let Page(Some(origin)) = self else {
            return Ok(());
        };
        if project.origins.iter().any(|pattern| pattern.allows(origin)) {
            return Ok(());
        }
        let message = "the project does not allow pages of this origin; add it to its `origins`";
        Err(Refusal::new(ErrorCode::Forbidden, message))
    }
}

/// Whether a page of this origin is one of the address that the request is sent to. Behind a proxy that
/// changes the host it does not seem to be.
pub fn is_own<T>(origin: &HeaderValue, request: &Request<T>) -> bool {
    let host = request.headers().get(HOST);
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    // The scheme is not compared: what ends TLS in front of a node leaves the host as it is.
    let origin = origin.to_str().unwrap_or_default();
    let place = origin.split_once("://").map(|(_, place)| place);
    place.is_some_and(|place| !place.is_empty() && place.eq_ignore_ascii_case(host))
}
