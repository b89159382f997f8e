//! `POST /v1/messages`: several messages as JSON.
//!
//! ```json
//! {"messages": [{"topic": "orders/eu", "data": "…", "content_type": "text/plain",
//!                "headers": [["name", "value"]], "key": "42", "ttl_ms": 60000,
//!                "idempotency_key": "…", "if_cursor": "…", "traceparent": "…", "retain": true,
//!                "reply_to": "answers/7", "correlation_base64": "…", "is_text": true}]}
//! ```
//!
//! `data` is the payload as a string; any other JSON value is taken as its own text, with the content
//! type `application/json` unless another is given. `data_base64` is the payload as bytes. If one message
//! is refused beforehand nothing is written. The messages of one topic are appended together or not at
//! all; for that a message with `if_cursor` must be the only one of its topic.

use std::{collections::HashMap, fmt, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Extension, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use highwater_broker::{Refusal, Result, catalogue::Principal};
use highwater_proto::{
    client::{PublishRequest, PublishResult},
    limits::{BATCH_MESSAGES_MAX, REQUEST_BYTES_MAX},
};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    invalid, principal,
    problem::{Document, respond},
    publish::read_body,
    query::Parameters,
    rate, refuse,
};
use crate::{
    gateway::Door,
    json::{MessageBody, ResultBody},
    metrics::Protocol,
    publish::prepare,
    serve::Connection,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody<'a> {
    #[serde(borrow, deserialize_with = "bounded")]
    messages: Vec<MessageBody<'a>>,
}

/// Publishes a batch.
pub async fn publish(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let requests = async {
        let principal = principal(&door, &headers)?;
        Parameters::of(&uri)?.end()?;
        let body = read_body(&door, &connection, &headers, body, REQUEST_BYTES_MAX).await?;
        Ok((principal, parse(&body)?))
    };
    match requests.await {
        Ok((principal, requests)) => {
            let response = publish_all(&door, &principal, requests).await;
            rate::say(&door, &principal.project, response)
        }
        Err(refusal) => refuse(&door, refusal),
    }
}

async fn publish_all(
    door: &Door,
    principal: &Principal,
    requests: Vec<PublishRequest>,
) -> Response {
    let batch = prepare(door, Protocol::Http, principal, requests);
    if let Some((at, refusal)) = batch.first_refusal() {
        let message = format!("message {at} of the batch: {}", refusal.message());
        return refuse(door, Refusal::new(refusal.code(), message));
    }
    let outcomes = batch.try_send().outcomes().await;
    let first_refusal = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    let results = outcomes.iter().map(OutcomeBody::of).collect();
    match first_refusal {
        None => (StatusCode::CREATED, Json(ResultsBody { results })).into_response(),
        Some(refusal) => {
            let problem = Document::of(refusal);
            let status = StatusCode::from_u16(refusal.code().http_status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(refusal, status, &PartialBody { problem, results })
        }
    }
}

fn parse(body: &[u8]) -> Result<Vec<PublishRequest>> {
    let malformed = |error: serde_json::Error| invalid(format!("the batch is malformed: {error}"));
    let batch: BatchBody<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if batch.messages.is_empty() {
        return Err(invalid("a batch has at least one message"));
    }
    check_conditions(&batch.messages)?;
    batch
        .messages
        .into_iter()
        .map(MessageBody::into_request)
        .collect()
}

/// A condition that fails must not leave a part of its topic's messages appended.
fn check_conditions(messages: &[MessageBody<'_>]) -> Result<()> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for message in messages {
        *counts.entry(&message.topic).or_default() += 1;
    }
    let mut conditional = messages.iter().filter(|m| !m.if_cursor.is_empty());
    match conditional.any(|m| counts[m.topic.as_str()] > 1) {
        true => Err(invalid(
            "a message with `if_cursor` is the only one of its topic in a batch",
        )),
        false => Ok(()),
    }
}

/// Stops at the maximum, before a long array of tiny messages has become large in memory.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MessageBody<'de>>, D::Error> {
    struct Bounded;
    impl<'de> de::Visitor<'de> for Bounded {
        type Value = Vec<MessageBody<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {BATCH_MESSAGES_MAX} messages")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut messages = Vec::new();
            while let Some(message) = seq.next_element()? {
                if messages.len() == BATCH_MESSAGES_MAX {
                    return Err(de::Error::invalid_length(BATCH_MESSAGES_MAX + 1, &self));
                }
                messages.push(message);
            }
            Ok(messages)
        }
    }
    deserializer.deserialize_seq(Bounded)
}

#[derive(Serialize)]
struct ResultsBody<'a> {
    results: Vec<OutcomeBody<'a>>,
}

/// A problem of some messages, with what became of each.
#[derive(Serialize)]
struct PartialBody<'a> {
    #[serde(flatten)]
    problem: Document,
    results: Vec<OutcomeBody<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutcomeBody<'a> {
    Published(ResultBody<'a>),
    Refused { error: Document },
}

impl<'a> OutcomeBody<'a> {
    fn of(outcome: &'a Result<PublishResult>) -> OutcomeBody<'a> {
        match outcome {
            Ok(result) => OutcomeBody::Published(ResultBody::of(result)),
            Err(refusal) => OutcomeBody::Refused {
                error: Document::of(refusal),
            },
        }
    }
}
