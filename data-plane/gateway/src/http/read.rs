//! Reading: `GET` a page of one topic or of filters, `HEAD` where a topic begins and ends.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Extension, Path, State, rejection::PathRejection},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{
    Result,
    catalogue::{Operation, Principal},
    from::From,
    segment::Encoding,
};
use highwater_proto::names::TopicFilter;
use serde::Serialize;

use super::{
    invalid, principal,
    query::{Parameters, parse_duration},
    refuse, topic,
};
use crate::{
    deliver,
    gateway::Door,
    json::{self, GapBody},
    metrics::Protocol,
    read::{self, PageRequest},
    serve::Connection,
    session::Session,
};

/// What follows the records of a page: what was lost before or among them, and where the next begins.
#[derive(Serialize)]
struct PageEnd<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<GapBody<'a>>,
    next: &'a str,
}

/// `GET /v1/messages/{topic…}?from=&limit=&wait=`.
pub async fn read_topic(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let filters = |_: &mut Parameters| Ok(vec![TopicFilter::from(&topic(path)?)]);
    respond(&door, &connection, &uri, &headers, filters).await
}

/// `GET /v1/messages?topic=…&topic=…&from=&limit=&wait=`, with topics and filters.
pub async fn read_filters(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let filters = |parameters: &mut Parameters| read::parse_filters(&parameters.all("topic"));
    respond(&door, &connection, &uri, &headers, filters).await
}

async fn respond(
    door: &Door,
    connection: &Connection,
    uri: &Uri,
    headers: &HeaderMap,
    filters: impl FnOnce(&mut Parameters) -> Result<Vec<TopicFilter>>,
) -> Response {
    let page = async {
        let mut session = Session::open(door, Protocol::Http, headers)?;
        let mut parameters = Parameters::of(uri)?;
        let filters = filters(&mut parameters)?;
        let request = page_request(filters, parameters)?;
        let stop = &connection.draining;
        let page = read::read_page(door, Protocol::Http, &mut session, request, stop).await?;
        Ok((session, page))
    };
    match page.await {
        Ok((session, page)) => render(door, session.principal(), &page),
        Err(refusal) => refuse(door, refusal),
    }
}

fn page_request(filters: Vec<TopicFilter>, mut parameters: Parameters) -> Result<PageRequest> {
    let from = parameters.one("from")?.unwrap_or_default();
    let limit = parameters.one("limit")?;
    let wait = parameters.one("wait")?;
    parameters.end()?;
    let number = |text: String| match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(invalid("`limit` is a number above 0")),
    };
    let duration = |text: String| {
        let wait = parse_duration(&text);
        wait.ok_or_else(|| invalid("`wait` is a number of milliseconds"))
    };
    Ok(PageRequest {
        filters,
        from: read::parse_from(&from, From::Earliest)?,
        limit: limit.map(number).transpose()?.unwrap_or(0),
        wait: wait.map(duration).transpose()?.unwrap_or(Duration::ZERO),
    })
}

/// A page as JSON: `{"records": […], "gaps": […], "next": "…"}`.
fn render(door: &Door, principal: &Principal, page: &read::Page) -> Response {
    let runs = page.deliveries.iter().flat_map(|delivery| {
        let (broker, project) = (&door.broker, &principal.project);
        deliver::chunks(broker, project, Encoding::Json, delivery, usize::MAX)
    });
    let records = json::array(runs.flatten().collect());
    let mut body = BytesMut::with_capacity(records.iter().map(Bytes::len).sum::<usize>() + 256);
    body.put_slice(b"{\"records\":");
    records.iter().for_each(|piece| body.put_slice(piece));
    let end = PageEnd {
        gaps: page.gaps.iter().map(GapBody::of).collect(),
        next: &page.next,
    };
    let mut rest = BytesMut::new();
    json::put(&end, &mut rest);
    body.put_u8(b',');
    // The members of one object, without the brace that opens it.
    body.put_slice(&rest[1..]);
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([content_type], body.freeze()).into_response()
}

/// `HEAD /v1/messages/{topic…}`. The cursor of the end is also the entity tag, for `If-Match`.
pub async fn describe(
    State(door): State<Arc<Door>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let described = async {
        let principal = principal(&door, &headers)?;
        Parameters::of(&uri)?.end()?;
        let topic = topic(path)?;
        principal.require(Operation::Subscribe, &topic)?;
        let project = &principal.project;
        let view = door.broker.topic(project, &topic).await?;
        let shard = project.shard_of(&topic);
        let cursor = door
            .broker
            .topic_cursor(project, shard, view.id, view.next_offset);
        let mut headers = HeaderMap::new();
        let numbers = [
            ("highwater-first-offset", view.first_offset),
            ("highwater-next-offset", view.next_offset),
            ("highwater-bytes", view.bytes),
        ];
        for (name, number) in numbers {
            headers.insert(HeaderName::from_static(name), number.into());
        }
        let tag = format!("\"{cursor}\"");
        for (name, text) in [
            (HeaderName::from_static("highwater-cursor"), cursor),
            (ETAG, tag),
        ] {
            let value = HeaderValue::try_from(text);
            headers.insert(name, value.expect("cursors are made for headers"));
        }
        Ok(headers)
    };
    match described.await {
        Ok(headers) => (StatusCode::OK, headers).into_response(),
        Err(refusal) => refuse(&door, refusal),
    }
}
