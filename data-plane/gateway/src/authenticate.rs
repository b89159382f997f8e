//! Who is asking: the credential of a request, and what becomes of it while a stream is open.

use highwater_broker::{
    Broker, Refusal, Result,
    catalogue::{KEY_PREFIX, Principal},
};
use highwater_proto::{ErrorCode, limits::CREDENTIAL_BYTES_MAX};
use http::{HeaderMap, header::AUTHORIZATION};
use tokio::sync::watch;

/// Checks the credential of a request: `Authorization: Bearer <key>`, in HTTP headers or gRPC metadata.
///
/// # Errors
/// `unauthenticated` when there is none, or it is not valid.
pub fn authenticate(broker: &Broker, headers: &HeaderMap) -> Result<Principal> {
    broker.authenticate(bearer(headers)?)
}

/// The text after `Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str> {
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
    match scheme.eq_ignore_ascii_case("bearer") && credential.len() <= CREDENTIAL_BYTES_MAX {
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

/// The principal of a stream, checked again whenever the catalogue changes.
pub struct Session {
    credential: Box<str>,
    principal: Principal,
    changes: watch::Receiver<()>,
}

impl Session {
    /// Checks the credential of a request that opens a stream.
    ///
    /// # Errors
    /// `unauthenticated` when there is none, or it is not valid.
    pub fn open(broker: &Broker, headers: &HeaderMap) -> Result<Session> {
        Session::of(broker, bearer(headers)?)
    }

    /// Checks a credential that came in another way than with the headers.
    ///
    /// # Errors
    /// `unauthenticated` when it is not valid.
    pub fn of(broker: &Broker, credential: &str) -> Result<Session> {
        // The receiver first: a change between the two is seen.
        let changes = broker.catalogue_changes();
        let principal = broker.authenticate(credential)?;
        Ok(Session {
            credential: credential.into(),
            principal,
            changes,
        })
    }

    /// Who it is, as of the last check.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Checks again, if the catalogue has changed since the last check.
    ///
    /// # Errors
    /// `unauthenticated` when the credential was revoked.
    pub fn refresh(&mut self, broker: &Broker) -> Result<&Principal> {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.principal = broker.authenticate(&self.credential)?;
        }
        Ok(&self.principal)
    }

    /// Resolves when the catalogue has changed. May be dropped and asked again.
    pub async fn changed(&self) {
        let mut changes = self.changes.clone();
        if changes.changed().await.is_err() {
            // The broker is gone, and with it every stream.
            std::future::pending::<()>().await;
        }
    }
}
