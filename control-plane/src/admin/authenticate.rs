//! From the credential of a request to who sends it.
//!
//! Whatever is wrong with a credential, the refusal is the same; why it was refused is logged, without it.

use std::sync::Arc;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use highwater_credentials::{Claims, OPERATOR_PREFIX, OperatorKeyHash};
use highwater_proto::limits::{CREDENTIAL_BYTES_MAX, MEMBER_SUBJECT_BYTES_MAX};
use serde_json::Value;
use tracing::debug;

use super::{AdminIssuer, Principal};
use crate::{
    clock::Clock,
    metrics::Metrics,
    refusal::{Reason, Result},
};

/// Whose tokens are an operator's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorIf {
    /// Subjects (`sub`).
    pub subjects: Vec<String>,
    /// A claim, and the value that it has or has among others.
    pub claim: Option<(String, String)>,
}

/// Knows credentials.
pub struct Authenticator {
    operator_key: Option<OperatorKeyHash>,
    issuer: Option<Arc<AdminIssuer>>,
    operators: OperatorIf,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Authenticator {
    /// One that knows the operator's key, if there is one, and the tokens of an issuer, if there is one.
    pub fn new(
        operator_key: Option<OperatorKeyHash>,
        issuer: Option<Arc<AdminIssuer>>,
        operators: OperatorIf,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Authenticator {
        Authenticator {
            operator_key,
            issuer,
            operators,
            clock,
            metrics,
        }
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`], always with the same words.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        self.known(headers).ok_or_else(|| {
            self.metrics.unauthenticated.inc();
            Reason::Unauthenticated.into()
        })
    }

    fn known(&self, headers: &HeaderMap) -> Option<Principal> {
        let credential = bearer(headers)?;
        match credential.starts_with(OPERATOR_PREFIX) {
            true => self.operator(credential),
            false => self.user(credential),
        }
    }

    fn operator(&self, key: &str) -> Option<Principal> {
        self.operator_key?.is_of(key).then(|| Principal {
            actor: "operator".into(),
            is_operator: true,
            subjects: Vec::new(),
        })
    }

    fn user(&self, token: &str) -> Option<Principal> {
        let issuer = self.issuer.as_ref()?;
        let claims = issuer.verify(token, (self.clock)());
        let claims = claims
            .inspect_err(|reason| debug!(%reason, "a token was refused"))
            .ok()?;
        let subject = claims.text("sub").filter(|s| is_subject(s))?;
        let mut subjects = vec![subject.to_owned()];
        if claims.get("email_verified") == Some(&Value::Bool(true)) {
            subjects.extend(
                claims
                    .text("email")
                    .filter(|e| is_subject(e))
                    .map(str::to_owned),
            );
        }
        Some(Principal {
            actor: format!("user:{subject}"),
            is_operator: self.operators.includes(subject, &claims),
            subjects,
        })
    }
}

/// The one credential of a request (RFC 6750, section 2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    let credential = credential.trim_start_matches(' ');
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    (is_bearer && credential.len() <= CREDENTIAL_BYTES_MAX).then_some(credential)
}

/// What can be a member, and stand in a log.
fn is_subject(text: &str) -> bool {
    text.len() <= MEMBER_SUBJECT_BYTES_MAX && !text.chars().any(char::is_control)
}

impl OperatorIf {
    fn includes(&self, subject: &str, claims: &Claims) -> bool {
        let has_claim = |(name, wanted): &(String, String)| match claims.get(name) {
            Some(Value::String(value)) => value == wanted,
            Some(Value::Array(values)) => values.iter().any(|v| v.as_str() == Some(wanted)),
            _ => false,
        };
        self.subjects.iter().any(|known| known == subject)
            || self.claim.as_ref().is_some_and(has_claim)
    }
}
