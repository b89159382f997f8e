//! Plain HTTP under `/v1`: publish with a POST, read pages with a GET, list and delete topics,
//! get tickets for browsers.
//!
//! Paths hold the topic, percent-encoded where it must be; its slashes may stand as they are. Refusals
//! are problem documents (RFC 9457). Unknown query parameters, JSON fields and `Highwater-` headers are
//! refused, so that a misspelt one does not pass for its default.

mod batch;
mod cloud_events;
pub(crate) mod problem;
mod publish;
pub(crate) mod query;
mod rate;
mod read;
mod tickets;
mod topics;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_proto::{ErrorCode, names::TopicName};
use tower_http::compression::CompressionLayer;

use crate::{authenticate, gateway::Door, grpc, metrics::Protocol};

use problem::Problem;

/// The routes under `/v1`.
pub(crate) fn router(door: &Arc<Door>) -> Router {
    Router::new()
        .route("/v1/messages", get(read::read_filters).post(batch::publish))
        .route(
            "/v1/messages/{*topic}",
            get(read::read_topic)
                .head(read::describe)
                .post(publish::publish),
        )
        .route("/v1/tickets", post(tickets::issue))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{*topic}", delete(topics::delete))
        .layer(CompressionLayer::new().gzip(true))
        .with_state(door.clone())
}

/// The answer for paths that do not exist. For gRPC it is the status of an unknown method.
pub(crate) async fn not_found(headers: HeaderMap) -> Response {
    let is_grpc =
        |value: &axum::http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
        return grpc::no_such_service();
    }
    let message = "there is nothing at this path";
    Problem(Refusal::new(ErrorCode::Unsupported, message)).into_response()
}

/// The answer for paths that exist, but not with this method.
pub(crate) async fn method_not_allowed() -> Response {
    let message = "the path does not allow this method";
    let problem = Problem(Refusal::new(ErrorCode::Unsupported, message));
    // RFC 9110, section 15.5.6; axum adds the `Allow` header.
    problem.with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Answers a request of this protocol with a refusal, and counts it.
fn refuse(door: &Door, refusal: Refusal) -> Response {
    problem::refuse(door, Protocol::Http, refusal)
}

fn principal(door: &Door, headers: &HeaderMap) -> Result<Principal> {
    authenticate::principal(door, headers)
}

/// The topic named by the path.
fn topic(path: Result<Path<String>, PathRejection>) -> Result<TopicName> {
    let not_text = |_| {
        Refusal::new(
            ErrorCode::InvalidTopic,
            "the topic in the path is not UTF-8",
        )
    };
    let Path(topic) = path.map_err(not_text)?;
    Ok(TopicName::try_from(topic.as_str())?)
}

pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}
