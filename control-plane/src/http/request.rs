//! Requests: who sends them, and what with. Members and parameters that nobody knows are refused.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, header::CONTENT_TYPE, request::Parts},
};
use highwater_proto::limits::{CONTROL_BODY_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Meta;
use crate::{
    admin::{Caller, Principal},
    api::Api,
    api_keys::Holder,
    refusal::{Reason, Refusal, Result, invalid},
    write::Idempotency,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request without parameters and without a body.
pub struct Asked(pub Caller);

/// A request with parameters, and without a body.
pub struct Queried<T> {
    /// Who sends it.
    pub caller: Caller,
    /// What is in the query.
    pub query: T,
}

/// A request with a body.
pub struct Submitted<T> {
    /// Who sends it.
    pub caller: Caller,
    /// What.
    pub body: T,
    /// Set when it may come again.
    pub key: Option<Idempotency>,
}

/// A request with a body, from somebody who is known by an API key alone.
pub struct Presented<T> {
    /// Who sends it.
    pub holder: Holder,
    /// What.
    pub body: T,
}

/// `Idempotency-Key`, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub struct Repeatable {
    /// With the same key, the same request may be sent again for a day: it is carried out once, and each answer is
    /// the first one, secrets included.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 256,
        pattern = "^[!-~]+$"
    )]
    idempotency_key: Option<String>,
}

impl Caller {
    /// Who sends a request. Several parts of one ask; its credential is checked once.
    pub(super) fn of(parts: &mut Parts, api: &Api) -> Result<Caller> {
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(caller.clone());
        }
        let principal = api.authenticator.authenticate(&parts.headers)?;
        let meta = count(parts, api, &principal)?;
        let caller = Caller {
            principal,
            from: meta.from.map(|ip| ip.to_string()).unwrap_or_default(),
            request: meta.id,
        };
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

/// Takes a request out of what its sender may send.
fn count(parts: &Parts, api: &Api, principal: &Principal) -> Result<Meta> {
    let meta = parts.extensions.get::<Meta>().cloned().unwrap_or_default();
    let (taken, standing) = api.rates.take(principal, Instant::now());
    if let Some(standing) = standing {
        // Set by nobody else: a request is counted once.
        let _ = meta.standing.set(standing);
    }
    taken?;
    Ok(meta)
}

fn refuse_query(parts: &Parts) -> Result<()> {
    match parts.uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(invalid("there are no query parameters here")),
    }
}

impl FromRequestParts<Arc<Api>> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Asked> {
        let caller = Caller::of(parts, api)?;
        refuse_query(parts)?;
        Ok(Asked(caller))
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Queried<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Queried<T>> {
        let caller = Caller::of(parts, api)?;
        let query = query(parts)?;
        Ok(Queried { caller, query })
    }
}

/// The parameters of a request.
pub(super) fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T> {
    let parameters = Query::<T>::try_from_uri(&parts.uri);
    let Query(parameters) = parameters.map_err(|error| {
        let message: String = error.body_text().chars().take(256).collect();
        invalid(message)
    })?;
    Ok(parameters)
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Submitted<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Submitted<T>> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::of(&mut parts, api)?;
        refuse_query(&parts)?;
        let key = idempotency_key(&parts.headers)?;
        let body = read(&parts, body).await?;
        let (actor, method) = (&caller.principal.actor, parts.method.as_str());
        let key = key.map(|key| Idempotency::new(actor, &key, method, parts.uri.path(), &body));
        Ok(Submitted {
            body: parse(&body)?,
            caller,
            key,
        })
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Presented<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Presented<T>> {
        let (parts, body) = request.into_parts();
        let holder = Holder::presented(api, &parts.headers)?;
        count(&parts, api, &holder.principal())?;
        refuse_query(&parts)?;
        let body = parse(&read(&parts, body).await?)?;
        Ok(Presented { holder, body })
    }
}

/// The whole of a body.
async fn read(parts: &Parts, body: Body) -> Result<Bytes> {
    check_content_type(&parts.headers)?;
    let body = Limited::new(body, CONTROL_BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Reason::BodyTooLarge
            .because(format!("a body has at most {CONTROL_BODY_BYTES_MAX} bytes")),
        false => invalid("the body did not come whole"),
    })?;
    Ok(body.to_bytes())
}

/// As the parser says what is wrong; of the client's own text it repeats a part at most.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T> {
    // No body is one without members, for requests that need none.
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let message: String = error.to_string().chars().take(256).collect();
        invalid(format!("the body: {message}"))
    })
}

fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind == "application/json" || kind == "application/merge-patch+json" {
        true => Ok(()),
        false => Err(Reason::MediaType.into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let is_key = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key || values.next().is_some() {
        return Err(invalid(format!(
            "`Idempotency-Key` comes once, with 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters"
        )));
    }
    Ok(Some(key.to_owned()))
}
