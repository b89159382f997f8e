//! What is around every request: its id, its time-out, its line in the log, and the form of a refusal.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderName, HeaderValue, Method,
        header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use highwater_proto::limits::CONTROL_REQUEST_MS_MAX;
use tokio::time::timeout;
use tracing::info;
use uuid::Uuid;

use super::{problem, rate::Standing};
use crate::{
    metrics::{Answered, Metrics},
    refusal::{Reason, Refusal},
    serve::Peer,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What is known of a request before it is read.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// Its id.
    pub id: String,
    /// Where it comes from.
    pub from: Option<IpAddr>,
    /// What its sender may still send, once that is known.
    pub standing: Arc<OnceLock<Standing>>,
}

/// Answers a request in time, whatever becomes of it.
pub async fn around(
    State(metrics): State<Arc<Metrics>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let id = Uuid::now_v7().simple().to_string();
    let from = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let meta = Meta {
        id: id.clone(),
        from,
        ..Meta::default()
    };
    let standing = meta.standing.clone();
    request.extensions_mut().insert(meta);
    let method = name_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let time = Duration::from_millis(CONTROL_REQUEST_MS_MAX);
    let answered = timeout(time, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| Refusal::from(Reason::Timeout).into_response());
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        problem::fill(&mut response, refusal, &id);
    }
    let headers = response.headers_mut();
    if let Some(standing) = standing.get() {
        standing.write(headers);
    }
    if let Ok(id) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers are the caller's alone, and some hold a secret.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    metrics
        .requests
        .get_or_create(&Answered { method, status })
        .inc();
    metrics.request_seconds.observe(took.as_secs_f64());
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    info!(
        request = id,
        method,
        route,
        status,
        ms = took.as_millis() as u64,
        "answered"
    );
    response
}

/// The answer to a path that does not exist.
pub async fn no_such_path() -> Refusal {
    Reason::NoSuchPath.into()
}

/// The answer to a method that a path does not have.
pub async fn no_such_method() -> Refusal {
    Reason::NoSuchMethod.into()
}

/// Methods that clients invent are not labels.
fn name_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
