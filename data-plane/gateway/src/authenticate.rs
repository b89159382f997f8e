//! Who is asking: the credential of a request.

use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_credentials::KEY_PREFIX;
use highwater_proto::ErrorCode;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{gateway::Door, page::Page};

/// Checks the credential of a request: `Authorization: Bearer <key>`, in HTTP headers or gRPC metadata.
///
/// # Errors
/// `unauthenticated` when there is none, or it is not valid; `forbidden` when it comes from a page that its
/// project does not allow.
pub fn principal(door: &Door, headers: &HeaderMap) -> Result<Principal> {
    authenticate(door, &Page::of(headers), bearer(headers)?)
}

/// Checks a credential that a page, or none, has sent.
///
/// # Errors
/// Those of [`principal`].
pub fn authenticate(door: &Door, page: &Page, credential: &str) -> Result<Principal> {
    let principal = door.broker.authenticate(credential, (door.clock)())?;
    page.require(&principal.project)?;
    Ok(principal)
}

/// The text after `Bearer` (RFC 6750, section 2.1).
///
/// # Errors
/// `unauthenticated` when there is none, or there are several.
pub fn bearer(headers: &HeaderMap) -> Result<&str> {
    let refuse = |message: &'static str| Refusal::new(ErrorCode::Unauthenticated, message);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values
        .next()
        .ok_or_else(|| refuse("the request has no credential"))?;
    if values.next().is_some() {
        return Err(refuse("the request has several credentials"));
    }
    let malformed = || refuse("the credential is not of the form `Bearer <key>`");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, credential) = text.split_once(' ').ok_or_else(malformed)?;
    // One that is too long is no credential that anybody has, and is refused like all of those.
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(credential.trim_start()),
        false => Err(malformed()),
    }
}

/// Names under which clients of other services put a key into the address.
const QUERY_NAMES: [&str; 7] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "auth",
    "key",
    "token",
];

/// Refuses a query parameter that is a long-lived credential: addresses end up in logs and histories.
///
/// # Errors
/// `unauthenticated`, whether or not the credential would be valid.
pub fn refuse_credential(name: &str, value: &str) -> Result<()> {
    let named = QUERY_NAMES.iter().any(|n| name.eq_ignore_ascii_case(n));
    match named || value.starts_with(KEY_PREFIX) && value.len() > 32 {
        false => Ok(()),
        true => Err(Refusal::new(
            ErrorCode::Unauthenticated,
            "credentials do not belong into an address; use the header `Authorization: Bearer <key>`",
        )),
    }
}
