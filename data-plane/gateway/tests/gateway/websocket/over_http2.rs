//! WebSockets over HTTP/2 (RFC 8441): each is a stream of a connection that carries others, too.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use highwater_gateway::{Options, metrics};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role},
    },
};

use super::peer::Peer;
use crate::stage::{Stage, within};

/// What a client takes of one stream before it is read. That of the connection is much more.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

type Socket = Peer<TokioIo<Upgraded>>;

/// A connection of HTTP/2, which the server has said the settings of.
struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    authority: String,
    _running: JoinSet<hyper::Result<()>>,
}

impl Connection {
    async fn open(stage: &Stage) -> Connection {
        let socket = within(TcpStream::connect(stage.address)).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connected = within(builder.handshake(TokioIo::new(socket))).await;
        let (requests, connection) = connected.unwrap();
        let mut running = JoinSet::new();
        running.spawn(connection);
        let mut connection = Connection {
            requests,
            authority: stage.address.to_string(),
            _running: running,
        };
        // Before the settings have come, extended CONNECT may not be used (section 3). An answer is after them.
        let request = Request::get(stage.url("/v1/topics"));
        let answer = connection.send(request.body(Empty::new()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        connection
    }

    async fn send(&mut self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        within(self.requests.ready()).await.unwrap();
        within(self.requests.send_request(request)).await.unwrap()
    }

    /// The request of a handshake (section 5), with these headers.
    fn handshake(&self, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{}{path}", self.authority))
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13");
        for (name, value) in headers {
            let known = request.headers_mut().unwrap();
            known.insert(
                http::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            );
        }
        request.body(Empty::new()).unwrap()
    }

    /// A WebSocket on a stream of its own, with the key that may do everything.
    async fn socket(&mut self, stage: &Stage) -> Socket {
        let bearer = format!("Bearer {}", stage.key);
        let request = self.handshake("/v1/ws", &[("authorization", &bearer)]);
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Socket::greeted(upgraded(response).await).await
    }
}

async fn upgraded(response: Response<Incoming>) -> WebSocketStream<TokioIo<Upgraded>> {
    let io = within(hyper::upgrade::on(response)).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Client, None).await
}

/// The end of a socket that was closed from this side, with the server's close frame and that of its stream.
async fn close(mut socket: Socket, code: u16) {
    let frame = CloseFrame {
        code: code.into(),
        reason: "enough".into(),
    };
    within(socket.0.send(Message::Close(Some(frame))))
        .await
        .unwrap();
    assert_eq!(socket.closed().await, code);
    assert!(within(socket.0.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_is_a_whole_websocket() {
    let stage = Stage::open().await;
    let mut connection = Connection::open(&stage).await;
    let bearer = format!("Bearer {}", stage.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("sec-websocket-protocol", "other, highwater.v1.json"),
    ];
    let response = connection
        .send(connection.handshake("/v1/ws", &headers))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let answered = response.headers();
    assert_eq!(answered["sec-websocket-protocol"], "highwater.v1.json");
    // What HTTP/1.1 upgrades with is no part of it (RFC 9113, section 8.2.2, and RFC 8441, section 5).
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!answered.contains_key(name), "{answered:?}");
    }
    let mut socket = Socket::greeted(upgraded(response).await).await;

    let receipt = socket.subscribe(1, &["a/#"], "latest").await;
    let publish = json!({"type": "publish", "id": 2, "topic": "a/b", "data": "x"});
    socket.send(publish).await;
    let (mut published, mut delivered) = (Value::Null, Value::Null);
    while published.is_null() || delivered.is_null() {
        let message = socket.next().await;
        match message["type"].as_str() {
            Some("published") => published = message,
            Some("message") => delivered = message,
            _ => panic!("{message}"),
        }
    }
    assert_eq!(
        (&published["id"], &published["offset"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(delivered["records"][0]["data"], "x");
    assert_ne!(delivered["records"][0]["cursor"], receipt.as_str());

    let ping = Message::Ping("payload".into());
    within(socket.0.send(ping)).await.unwrap();
    let pong = within(socket.0.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("payload".into()));
    close(socket, 4000).await;
}

#[tokio::test]
async fn a_refusal_is_a_response_and_the_connection_goes_on() {
    let mut stage = Stage::open().await;
    stage.allow_origins(&["https://app.example.com"]);
    let mut connection = Connection::open(&stage).await;
    let bearer = format!("Bearer {}", stage.key);
    let with_key = ("authorization", bearer.as_str());
    for (path, headers, status, code) in [
        (
            "/v1/ws",
            &[with_key, ("origin", "https://evil.example.org")][..],
            403,
            "forbidden",
        ),
        (
            "/v1/ws",
            &[("authorization", "Bearer hw_no_key")],
            401,
            "unauthenticated",
        ),
        ("/v1/ws?token=x", &[with_key], 401, "unauthenticated"),
        // There is nothing to upgrade, but the version is the one that it was in HTTP/1.1.
        (
            "/v1/ws",
            &[with_key, ("sec-websocket-version", "8")],
            426,
            "invalid_request",
        ),
        ("/mqtt", &[with_key], 400, "invalid_request"),
        ("/v1/nothing", &[with_key], 404, "unsupported"),
    ] {
        let request = connection.handshake(path, headers);
        let response = connection.send(request).await;
        assert_eq!(response.status(), status, "{path} {headers:?}");
        let body = within(response.into_body().collect()).await.unwrap();
        let problem: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!(problem["code"], code, "{path} {headers:?}");
    }
    let allowed = [with_key, ("origin", "https://app.example.com")];
    let response = connection
        .send(connection.handshake("/v1/ws", &allowed))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    close(Socket::greeted(upgraded(response).await).await, 1000).await;
}

#[tokio::test]
async fn another_protocol_is_no_websocket() {
    let stage = Stage::open().await;
    let mut connection = Connection::open(&stage).await;
    let bearer = format!("Bearer {}", stage.key);
    let mut request = connection.handshake("/v1/ws", &[("authorization", &bearer)]);
    request
        .extensions_mut()
        .insert(Protocol::from_static("connect-udp"));
    let response = connection.send(request).await;
    assert!(response.status().is_client_error(), "{response:?}");
    close(connection.socket(&stage).await, 1000).await;
}

#[tokio::test]
async fn sockets_of_one_connection_end_one_by_one() {
    let stage = Stage::open().await;
    let mut connection = Connection::open(&stage).await;
    let mut first = connection.socket(&stage).await;
    let mut second = connection.socket(&stage).await;
    first.subscribe(1, &["a"], "latest").await;
    second.subscribe(1, &["a"], "latest").await;
    stage.publish("a", "0").await;
    assert_eq!(first.records(1, 1).await, second.records(1, 1).await);
    let traffic = stage
        .gateway
        .metrics()
        .traffic(metrics::Protocol::WebSocket)
        .clone();
    assert_eq!(traffic.subscriptions.get(), 2);
    close(first, 1000).await;
    stage.publish("a", "1").await;
    assert_eq!(second.records(1, 1).await[0]["data"], "1");
    // A stream that is reset instead ends as well, and what it was subscribed to.
    drop(second);
    stage.followed(false).await;
    close(connection.socket(&stage).await, 1000).await;
}

#[tokio::test]
async fn a_socket_whose_connection_is_old_is_told_that_it_goes_away() {
    let options = Options {
        connection_age_max: Some(Duration::from_secs(1)),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let mut connection = Connection::open(&stage).await;
    let mut socket = connection.socket(&stage).await;
    assert_eq!(socket.next().await["type"], "draining");
    assert_eq!(socket.closed().await, 1001);
}

#[tokio::test]
async fn a_slow_socket_holds_up_no_other_of_its_connection_and_misses_nothing() {
    let stage = Stage::open().await;
    let mut connection = Connection::open(&stage).await;
    let mut slow = connection.socket(&stage).await;
    let mut quick = connection.socket(&stage).await;
    // What is sent is more than the window of the slow one's stream, and than the connection's.
    slow.reads_later_than(&mut quick, &stage).await;
}
