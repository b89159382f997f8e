//! `GET /v1/topics` lists the topics the caller may read, by name; `DELETE` removes one.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_broker::{
    Refusal, Result,
    catalogue::{Operation, Principal},
    handle::{ReadRequest, TopicView},
};
use highwater_proto::{
    ErrorCode,
    limits::TOPICS_PAGE_MAX,
    names::{NameError, TopicFilter, TopicName},
};
use serde::Serialize;

use super::{invalid, principal, publish::condition, query::Parameters, refuse, topic};
use crate::gateway::Door;

#[derive(Serialize)]
struct TopicsBody {
    topics: Vec<TopicBody>,
    /// Where the next page starts; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct TopicBody {
    topic: String,
    first_offset: u64,
    next_offset: u64,
    bytes: u64,
    cursor: String,
}

/// What to list.
struct ListRequest {
    prefix: String,
    /// The last topic of the page before.
    after: Option<TopicName>,
    limit: usize,
}

/// `GET /v1/topics?prefix=&cursor=&limit=`. A page may hold fewer topics than the limit, even none, and
/// still have a next one.
pub async fn list(State(door): State<Arc<Door>>, uri: Uri, headers: HeaderMap) -> Response {
    let listed = async {
        let principal = principal(&door, &headers)?;
        let request = ListRequest::read(Parameters::of(&uri)?)?;
        list_topics(&door, &principal, request).await
    };
    match listed.await {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => refuse(&door, refusal),
    }
}

impl ListRequest {
    fn read(mut parameters: Parameters) -> Result<ListRequest> {
        let prefix = parameters.one("prefix")?.unwrap_or_default();
        let cursor = parameters.one("cursor")?;
        let limit = parameters.one("limit")?;
        parameters.end()?;
        if !prefix.is_empty() {
            TopicName::try_from(prefix.as_str())?;
        }
        let number = |text: String| match text.parse::<usize>() {
            Ok(limit) if limit > 0 => Ok(limit.min(TOPICS_PAGE_MAX)),
            _ => Err(invalid("`limit` is a number above 0")),
        };
        Ok(ListRequest {
            prefix,
            after: cursor.map(|text| open_cursor(&text)).transpose()?,
            limit: limit.map(number).transpose()?.unwrap_or(TOPICS_PAGE_MAX),
        })
    }
}

/// The cursor of a listing is the name it ended with. It needs no seal: it says nothing that the caller
/// could not ask for.
fn open_cursor(text: &str) -> Result<TopicName> {
    let name = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|raw| String::from_utf8(raw).ok());
    let name = name.and_then(|name| TopicName::try_from(name.as_str()).ok());
    name.ok_or_else(|| {
        Refusal::new(
            ErrorCode::CursorInvalid,
            "this is not a cursor of a listing",
        )
    })
}

async fn list_topics(
    door: &Door,
    principal: &Principal,
    request: ListRequest,
) -> Result<TopicsBody> {
    let mut found = candidates(door, principal, &request).await?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let is_last = found.len() <= request.limit;
    found.truncate(request.limit);
    // The names are in order, so the first without the prefix ends the list.
    let within = found.partition_point(|view| view.name.as_str().starts_with(&request.prefix));
    let is_last = is_last || within < found.len();
    found.truncate(within);
    let next = found
        .last()
        .filter(|_| !is_last)
        .map(|view| URL_SAFE_NO_PAD.encode(view.name.as_str()));
    let may_read = |view: &TopicView| {
        principal
            .permissions
            .allow(Operation::Subscribe, &view.name)
    };
    let topics = found.into_iter().filter(may_read);
    let project = &principal.project;
    let body = |view: TopicView| TopicBody {
        first_offset: view.first_offset,
        next_offset: view.next_offset,
        bytes: view.bytes,
        cursor: {
            let shard = project.shard_of(&view.name);
            door.broker
                .topic_cursor(project, shard, view.id, view.next_offset)
        },
        topic: view.name.to_string(),
    };
    Ok(TopicsBody {
        topics: topics.map(body).collect(),
        next,
    })
}

/// From each shard one topic more than the page holds, beginning with the prefix, in order.
async fn candidates(
    door: &Door,
    principal: &Principal,
    request: &ListRequest,
) -> Result<Vec<TopicView>> {
    let project = &principal.project;
    let prefix = TopicName::try_from(request.prefix.as_str()).ok();
    // A listing starts behind a name. That of the prefix itself is asked for by its own.
    let after = request.after.clone().max(prefix.clone());
    let exact = prefix.filter(|_| request.after.is_none());
    let filters: Arc<[TopicFilter]> = Arc::new([filter_of(&request.prefix)?]);
    let mut found = Vec::new();
    for id in &project.shards {
        let shard = door.broker.shard(*id)?;
        shard.frontier().await?;
        if let Some(topic) = exact.clone().filter(|topic| project.shard_of(topic) == *id) {
            let exact = |reply| ReadRequest::Topic {
                project: project.id,
                topic,
                reply,
            };
            found.extend(shard.read(exact).await?);
        }
        let list = |reply| ReadRequest::Topics {
            project: project.id,
            filters: filters.clone(),
            after: after.clone(),
            limit: request.limit + 1,
            reply,
        };
        found.extend(shard.read(list).await?);
    }
    Ok(found)
}

/// The narrowest filter that matches every topic with a prefix: its whole levels, then anything.
fn filter_of(prefix: &str) -> Result<TopicFilter> {
    let levels = prefix.rfind('/').map_or("", |at| &prefix[..=at]);
    // One level more than a name may have is no filter, and no topic has it either.
    let all = || TopicFilter::try_from("#");
    let filter = TopicFilter::try_from(format!("{levels}#").as_str()).or_else(|_| all());
    filter.map_err(|error: NameError| error.into())
}

/// `DELETE /v1/topics/{topic…}`: removes the topic with all its records; with `If-Match: <cursor>`, only if
/// it still ends there.
pub async fn delete(
    State(door): State<Arc<Door>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let principal = principal(&door, &headers)?;
        Parameters::of(&uri)?.end()?;
        let topic = topic(path)?;
        if topic.is_system() {
            return Err(NameError::System.into());
        }
        principal.require(Operation::Manage, &topic)?;
        let project = &principal.project;
        let end = |cursor: String| door.broker.expected_end(project, &topic, &cursor);
        let if_end = condition(&headers)?.map(end).transpose()?;
        let shard = door.broker.shard_of(project, &topic);
        match shard.delete_topic(project.id, topic, if_end).await? {
            true => Ok(()),
            false => Err(Refusal::new(ErrorCode::NotFound, "there is no such topic")),
        }
    };
    match deleted.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refuse(&door, refusal),
    }
}
