//! Clients that are slow, greedy or broken.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use highwater_gateway::Options;
use hyper::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::stage::{Stage, expect, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

fn impatient() -> Options {
    Options {
        header_timeout: Duration::from_secs(1),
        ..Options::default()
    }
}

/// Sends bytes and waits for the other end to close. Returns what came before that.
async fn until_closed(stage: &Stage, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = within(socket.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn a_client_that_does_not_say_what_it_wants_is_closed() {
    let stage = Stage::with(1, impatient(), None).await;
    let settled = [PREFACE, &EMPTY_SETTINGS].concat();
    let beginnings = [
        &b""[..],
        b"G",
        b"GET /v1/messages/a HTTP/1.1\r\nhost: x\r\nauth",
        b"PRI * HT",
        PREFACE,
        &settled,
    ];
    join_all(beginnings.map(|beginning| until_closed(&stage, beginning))).await;
    let metrics = stage.gateway.metrics();
    within(async {
        while metrics.connections.get() != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Nobody gets the time a second time by beginning late.
#[tokio::test]
async fn a_client_has_one_time_to_begin_however_it_divides_it() {
    let options = Options {
        header_timeout: Duration::from_secs(3),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let upgrade = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
        )
    };
    // What comes then is a credential, in the first message.
    let (socket, mqtt) = (
        upgrade("/v1/ws", ""),
        upgrade("/mqtt", "sec-websocket-protocol: mqtt\r\n"),
    );
    // A client that is spoken to has another second to answer that it is closed.
    let (silent, told) = (Duration::from_millis(4_500), Duration::from_millis(5_500));
    let beginnings = [
        (&b"G"[..], silent),
        (b"GET / HTTP/1.1\r\nhost:", silent),
        (PREFACE, silent),
        (b"\x10", silent),
        (b"\x10\x0d\0\x04M", silent),
        (socket.as_bytes(), told),
        (mqtt.as_bytes(), told),
    ];
    let times = join_all(beginnings.map(async |(beginning, _)| {
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        let begun = Instant::now();
        // The client's own slowness: most of its time.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        socket.write_all(beginning).await.unwrap();
        let _ = within(socket.read_to_end(&mut Vec::new())).await;
        begun.elapsed()
    }));
    for ((beginning, time_max), time) in beginnings.iter().zip(times.await) {
        let beginning = beginning.escape_ascii();
        assert!(time < *time_max, "{beginning}: {time:?}");
    }
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_headers() {
    let stage = Stage::with(1, impatient(), None).await;
    let poll = stage.get("/v1/messages/a?from=latest&wait=2000");
    expect(poll, reqwest::StatusCode::OK).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_timeout() {
    let options = Options {
        body_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    let head = format!(
        "POST /v1/messages/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 10\r\nconnection: close\r\n\r\nhalf",
        stage.key
    );
    let answer = String::from_utf8(until_closed(&stage, head.as_bytes()).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains(r#""code":"timeout""#), "{answer}");
}

#[tokio::test]
async fn headers_that_are_too_long_are_431() {
    let stage = Stage::open().await;
    for method in ["GET", "POST"] {
        let head = format!(
            "{method} / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "y".repeat(40_000)
        );
        let answer = String::from_utf8(until_closed(&stage, head.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn garbage_is_closed() {
    let stage = Stage::open().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x00\x00\x00\x00",
        b"HELLO\r\n\r\n",
    ] {
        let answer = until_closed(&stage, &[garbage, &[0; 100]].concat()).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let options = Options {
        connections_max: 1,
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    // The client keeps its connection.
    expect(stage.get("/v1/messages/a"), reqwest::StatusCode::OK).await;
    assert!(until_closed(&stage, b"").await.is_empty());
    assert_eq!(stage.gateway.metrics().connections_refused.get(), 1);
    expect(stage.get("/v1/messages/a"), reqwest::StatusCode::OK).await;
}

/// The types and payloads of frames (RFC 9113, section 4.1).
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((head[3], payload))
    })
}

const GOAWAY: u8 = 7;

/// A request for `/` on a stream, and its reset right behind it (RFC 9113, sections 6.2 and 6.4).
fn request_and_reset(stream: u32) -> Vec<u8> {
    const HEADERS: [u8; 3] = [0x82, 0x86, 0x84];
    let id = stream.to_be_bytes();
    let end_of_stream_and_headers = 0x5;
    let cancel = [0, 0, 0, 8];
    [
        &[0, 0, HEADERS.len() as u8, 1, end_of_stream_and_headers][..],
        &id,
        &HEADERS,
        &[0, 0, 4, 3, 0],
        &id,
        &cancel,
    ]
    .concat()
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let stage = Stage::open().await;
    let flood = (0..2_000).flat_map(|n| request_and_reset(2 * n + 1));
    let flood: Vec<u8> = PREFACE
        .iter()
        .copied()
        .chain(EMPTY_SETTINGS)
        .chain(flood)
        .collect();
    let answer = until_closed(&stage, &flood).await;
    // RFC 9113, section 6.8: the last stream and the code, here ENHANCE_YOUR_CALM.
    let goodbye = frames(&answer).find(|(kind, _)| *kind == GOAWAY);
    let (_, payload) = goodbye.expect("the connection is ended with a reason");
    assert_eq!(payload[4..8], [0, 0, 0, 0xb]);
    // And nobody else notices.
    expect(stage.get("/v1/messages/a"), reqwest::StatusCode::OK).await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_closed() {
    let options = Options {
        keepalive_interval: Duration::from_secs(1),
        header_timeout: Duration::from_secs(3_600),
        ..Options::default()
    };
    let stage = Stage::with(1, options, None).await;
    until_closed(&stage, &[PREFACE, &EMPTY_SETTINGS].concat()).await;
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let stage = Stage::open().await;
    stage.publish("a", "x").await;
    let socket = TcpStream::connect(stage.address).await.unwrap();
    let (client, connection) = within(h2::client::handshake(socket)).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(async move {
        // It ends with the test.
        let _ = connection.await;
    });
    let request = Request::get(stage.url("/v1/messages/a"))
        .header("authorization", format!("Bearer {}", stage.key))
        .body(())
        .unwrap();
    let mut client = within(client.ready()).await.unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), StatusCode::OK);
}
