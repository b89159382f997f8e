//! Server-sent events (WHATWG HTML, section 9.2): a subscription as an event stream.
//!
//! `GET /v1/sse?topic=…&topic=…&from=…&format=json|raw`. The first event, `subscribed`, is the receipt. Every
//! record is an event without a name, so that `onmessage` sees it, and its id is the cursor after it: a
//! browser that reconnects sends it as `Last-Event-ID`, and goes on from there on whichever node.
//!
//! A browser brings a ticket in the address ([`crate::ticket`]). A credential that expires is announced by the
//! event `auth-expiring`, and renewed in place ([`streams`]).

mod event;
mod streams;

use std::sync::Arc;

use async_stream::stream;
use axum::{
    Router,
    body::Body,
    extract::{Extension, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::Stream;
use highwater_broker::{
    Result, catalogue::Principal, from::From, segment::Encoding, subscription::Delivery,
};
use highwater_proto::limits::RESPONSE_BYTES_MAX;
use tokio_util::sync::CancellationToken;

use crate::{
    deliver,
    gateway::Door,
    http::{
        invalid,
        problem::{self, Document},
        query::Parameters,
    },
    json::GapBody,
    metrics::Protocol,
    read,
    reader::{Credit, Reader, Wanted},
    serve::Connection,
    session::{Notice, Session},
    ticket,
};

pub use event::{put_payload, put_record};
pub(crate) use streams::Streams;

use streams::Place;

/// How long a client waits before it reconnects, at least; up to twice this, so that not all of a
/// node's clients come back in one moment.
const RETRY_MS: u64 = 1_000;

/// The routes of event streams.
pub(crate) fn router(door: &Arc<Door>) -> Router {
    Router::new()
        .route("/v1/sse", get(subscribe))
        .route("/v1/sse/{stream}/auth", post(streams::renew))
        .with_state(door.clone())
}

async fn subscribe(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let opened = Subscriber::open(door.clone(), connection, &uri, &headers).await;
    match opened {
        Err(refusal) => problem::refuse(&door, Protocol::Sse, refusal),
        Ok((subscriber, cookie)) => {
            let named = |name, value| (name, HeaderValue::from_static(value));
            let headers = [
                named(CONTENT_TYPE, "text/event-stream"),
                // Not for proxies to keep, nor to compress: either would hold events back.
                named(CACHE_CONTROL, "no-store, no-transform"),
                named(HeaderName::from_static("x-accel-buffering"), "no"),
            ];
            let body = Body::from_stream(subscriber.stream());
            let mut response = (headers, body).into_response();
            if let Some(cookie) = cookie {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
    }
}

/// One client's end of a stream.
struct Subscriber {
    door: Arc<Door>,
    draining: CancellationToken,
    session: Session,
    reader: Reader,
    encoding: Encoding,
    place: Place,
}

impl Subscriber {
    /// Opens the subscription, before anything is answered: a refusal is a response of its own. One that
    /// a ticket opens has a cookie, with which the browser may open it again.
    async fn open(
        door: Arc<Door>,
        connection: Connection,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(Subscriber, Option<HeaderValue>)> {
        let mut parameters = Parameters::of(uri)?;
        let (session, cookie) = match parameters.one("ticket")? {
            None => (Session::open(&door, Protocol::Sse, headers)?, None),
            Some(text) => {
                let opened = ticket::open_stream(&door, headers, connection.is_tls, &text);
                let (session, cookie) = opened.await?;
                (session, Some(cookie))
            }
        };
        let filters = read::parse_filters(&parameters.all("topic"))?;
        let from = parameters.one("from")?.unwrap_or_default();
        let encoding = match parameters.one("format")?.as_deref() {
            None | Some("json") => Encoding::Sse,
            Some("raw") => Encoding::SseRaw,
            Some(_) => return Err(invalid("`format` is `json` or `raw`")),
        };
        parameters.end()?;
        let from = match last_event_id(headers)? {
            Some(cursor) => From::Cursor(cursor),
            None => read::parse_from(&from, From::Latest)?,
        };
        let principal = session.principal();
        let place = Place::take(door.clone(), principal.project.id, filters.clone());
        let source = Wanted::alone(filters, from);
        let unlimited = Credit::new(0, 0);
        let reader = Reader::open(&door, Protocol::Sse, principal, source, unlimited).await?;
        let subscriber = Subscriber {
            door,
            draining: connection.draining,
            session,
            reader,
            encoding,
            place,
        };
        Ok((subscriber, cookie))
    }

    /// The body of the response.
    fn stream(mut self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        stream! {
            let retry_ms = RETRY_MS + self.door.reconnect_after_ms().min(RETRY_MS);
            yield Ok(event::subscribed(&self.reader.cursor(), &self.place.address(), retry_ms));
            loop {
                match self.step().await {
                    Step::Events(events) => {
                        for bytes in events {
                            yield Ok(bytes);
                        }
                    }
                    Step::End(last) => {
                        yield Ok(last);
                        return;
                    }
                }
            }
        }
    }

    /// Waits for what comes first: records, a changed credential, a time of silence or the end.
    async fn step(&mut self) -> Step {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => {
                Step::End(event::draining(self.door.reconnect_after_ms()))
            }
            principal = self.place.renewed() => self.quietly(|stream| stream.renew(&principal)),
            notice = self.session.notice() => match notice {
                Notice::Changed => self.quietly(Subscriber::recheck),
                Notice::Expiring(at_ms) => {
                    Step::Events(vec![event::auth_expiring(at_ms, &self.place.address())])
                }
            },
            delivery = self.reader.next(&self.door) => match delivery {
                Ok(delivery) => Step::Events(self.events(&delivery)),
                Err(refusal) => self.refuse(&refusal),
            },
            () = tokio::time::sleep(self.door.options.heartbeat_interval) => {
                Step::Events(vec![event::heartbeat()])
            }
        }
    }

    /// Does what the client sees nothing of, unless it ends the stream.
    fn quietly(&mut self, change: impl FnOnce(&mut Subscriber) -> Result<()>) -> Step {
        match change(self) {
            Ok(()) => Step::Events(Vec::new()),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn renew(&mut self, principal: &Principal) -> Result<()> {
        // One that is good no longer changes nothing: what there was may still be.
        if self.session.renew(&self.door, principal).is_ok() {
            self.reader.recheck(self.session.principal())?;
        }
        Ok(())
    }

    fn recheck(&mut self) -> Result<()> {
        self.reader.recheck(self.session.refresh(&self.door)?)
    }

    fn events(&self, delivery: &Delivery) -> Vec<Bytes> {
        let project = &self.session.principal().project;
        let (broker, encoding) = (&self.door.broker, self.encoding);
        let records = deliver::chunks(broker, project, encoding, delivery, RESPONSE_BYTES_MAX);
        let gaps = delivery
            .gaps
            .iter()
            .map(|gap| event::gap(&GapBody::of(gap)));
        gaps.chain(records.into_iter().flatten()).collect()
    }

    fn refuse(&self, refusal: &highwater_broker::Refusal) -> Step {
        self.door.metrics.refused(Protocol::Sse, refusal);
        Step::End(event::error(&Document::of(refusal)))
    }
}

enum Step {
    Events(Vec<Bytes>),
    /// The last event of the stream.
    End(Bytes),
}

/// The cursor a client goes on from, which it has from the last event it saw.
fn last_event_id(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(cursor) => Ok(Some(cursor.to_owned())),
        Err(_) => Err(invalid("`Last-Event-ID` is the id of an event")),
    }
}
