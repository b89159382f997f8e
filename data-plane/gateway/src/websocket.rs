//! WebSocket (RFC 6455, and RFC 8441 over HTTP/2) at `/v1/ws`: publishes and subscriptions on one
//! connection, in both directions at once.
//!
//! With the subprotocol `highwater.v1.json`, or with none, each message is a JSON object with a `type`; with
//! `highwater.v1.proto` it is a `SocketRequest` or `SocketResponse` of the gRPC contract. Both say the same
//! ([`codec`]), and one loop serves both ([`client`]):
//!
//! ```text
//! socket ─ Decoder ─ Codec::decode ─ Client ─┬─ publish.rs
//!    └──── Outbox ── Codec::encode ──────────┴─ reader.rs (one a subscription)
//! ```
//!
//! At `/mqtt`, the subprotocol `mqtt` is MQTT as on its own port, in binary messages ([`stream`]).
//!
//! A credential comes with the request that opens the connection, as a ticket in its address
//! ([`crate::ticket`]), or in the first message.

mod client;
mod codec;
mod json;
mod outbox;
mod proto;
mod stream;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Extension, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
            SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::{IntoResponse, Response},
    routing::any,
};
use highwater_broker::{Refusal, Result};
use highwater_proto::ErrorCode;
use highwater_websocket::{
    Agreement, Policy,
    handshake::{self, Opening, VERSION},
};
use hyper::ext::Protocol as ExtendedProtocol;
use hyper_util::rt::TokioIo;

use crate::{
    gateway::Door,
    http::{
        problem::{self, Problem},
        query::Parameters,
    },
    metrics::Protocol,
    mqtt,
    page::Page,
    serve::Connection,
    session::Session,
    ticket,
};

use client::Client;
use codec::Codec;

const JSON: &str = "highwater.v1.json";
const PROTO: &str = "highwater.v1.proto";
/// As it is registered for MQTT (MQTT 5.0, section 6).
const MQTT: &str = "mqtt";

/// The route of WebSockets.
pub(crate) fn router(door: &Arc<Door>) -> Router {
    Router::new()
        .route("/v1/ws", any(open))
        .route("/mqtt", any(open_mqtt))
        .with_state(door.clone())
}

/// Answers the opening handshake; the connection goes on in a task of its own.
async fn open(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    mut request: Request,
) -> Response {
    let accepted = match accept(&request, &[JSON, PROTO], true) {
        Ok(accepted) => accepted,
        Err(refusal) => return not_a_websocket(&door, refusal),
    };
    // The body of the request is nothing that could be shared while this waits.
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let session = match credential(&door, &uri, &headers).await {
        Ok(session) => session,
        Err(refusal) => return problem::refuse(&door, Protocol::WebSocket, refusal),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut socket = client::Connection::new(Client {
        door,
        begin_by: connection.begin_by,
        draining: connection.draining.clone(),
        stopping: connection.stopping.clone(),
        codec: accepted.codec(),
        session,
        page: Page::of(&headers),
        agreement: accepted.agreement,
    });
    connection.go_on("websocket", async move {
        let io = upgrade.await.map_err(std::io::Error::other)?;
        socket.run(TokioIo::new(io)).await
    });
    accepted.response
}

/// Answers the opening handshake of a connection that speaks MQTT, which has its credential in it.
async fn open_mqtt(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    mut request: Request,
) -> Response {
    // Packets are small or compressed already, and a client that is not asked for it needs no memory for it.
    let accepted = match accept(&request, &[MQTT], false) {
        Ok(accepted) => accepted,
        Err(refusal) => return not_a_websocket(&door, refusal),
    };
    if accepted.subprotocol.is_none() {
        let message = "the subprotocol of a WebSocket with MQTT is `mqtt`; offer it";
        let refusal = Refusal::new(ErrorCode::InvalidRequest, message);
        return problem::refuse(&door, Protocol::Mqtt, refusal);
    }
    let page = Page::of(request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    let (begin_by, draining) = (connection.begin_by, connection.draining.clone());
    connection.go_on("mqtt", async move {
        let io = upgrade.await.map_err(std::io::Error::other)?;
        let io = stream::Stream::new(TokioIo::new(io));
        mqtt::serve(door, io, (page, begin_by), draining).await
    });
    accepted.response
}

/// A handshake that was understood.
struct Accepted {
    response: Response,
    subprotocol: Option<&'static str>,
    agreement: Option<Agreement>,
}

impl Accepted {
    fn codec(&self) -> Codec {
        match self.subprotocol {
            Some(PROTO) => Codec::Proto,
            _ => Codec::Json,
        }
    }
}

/// Reads a handshake for one of these subprotocols, which may be compressed or not.
fn accept(
    request: &Request,
    subprotocols: &[&'static str],
    compresses: bool,
) -> Result<Accepted, handshake::Refusal> {
    let headers = request.headers();
    let values = |name: &HeaderName| -> Vec<&str> {
        let values = headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    };
    let first = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (upgrades, connections) = (values(&UPGRADE), values(&CONNECTION));
    let extended = request.extensions().get::<ExtendedProtocol>();
    let is_over_http2 = extended.is_some_and(|protocol| protocol.as_str() == "websocket");
    let opening = match is_over_http2 {
        true => Opening::ExtendedConnect,
        false => Opening::Upgrade {
            method: request.method().as_str(),
            upgrade: &upgrades,
            connection: &connections,
            key: first(&SEC_WEBSOCKET_KEY),
        },
    };
    let extensions = values(&SEC_WEBSOCKET_EXTENSIONS);
    let asked = handshake::Request {
        opening,
        version: first(&SEC_WEBSOCKET_VERSION),
        subprotocols: &values(&SEC_WEBSOCKET_PROTOCOL),
        extensions: match compresses {
            true => &extensions,
            false => &[],
        },
    };
    let answer = handshake::answer(&asked, subprotocols, &Policy::default())?;
    let mut headers = HeaderMap::new();
    let status = match &answer.accept {
        None => StatusCode::OK,
        Some(accept) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            let accept = HeaderValue::from_str(accept).expect("base64 is a header's text");
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            StatusCode::SWITCHING_PROTOCOLS
        }
    };
    if let Some(subprotocol) = answer.subprotocol {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(subprotocol),
        );
    }
    if let Some(agreement) = &answer.agreement {
        let response = HeaderValue::try_from(agreement.response());
        let response = response.expect("names and numbers are a header's text");
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, response);
    }
    Ok(Accepted {
        response: (status, headers).into_response(),
        subprotocol: answer.subprotocol.and_then(|chosen| {
            let mut known = subprotocols.iter().copied();
            known.find(|known| *known == chosen)
        }),
        agreement: answer.agreement,
    })
}

/// The credential of the request, if it has one.
async fn credential(door: &Door, uri: &Uri, headers: &HeaderMap) -> Result<Option<Session>> {
    let mut parameters = Parameters::of(uri)?;
    let ticket = parameters.one("ticket")?;
    parameters.end()?;
    if let Some(ticket) = ticket {
        return ticket::open(door, headers, &ticket).await.map(Some);
    }
    let has_one = headers.contains_key(AUTHORIZATION);
    has_one
        .then(|| Session::open(door, Protocol::WebSocket, headers))
        .transpose()
}

/// The answer to a request that opens no WebSocket (RFC 6455, section 4.2.2).
fn not_a_websocket(door: &Door, refusal: handshake::Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let refusal = Refusal::new(ErrorCode::InvalidRequest, refusal.to_string());
    door.metrics.refused(Protocol::WebSocket, &refusal);
    let mut response = Problem(refusal).with_status(status);
    let headers = response.headers_mut();
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}
