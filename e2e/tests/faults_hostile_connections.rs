//! Connections that mean no good: they end by themselves, cost bounded memory, and others are served meanwhile.

use std::time::{Duration, Instant};

use highwater_e2e::{
    Cluster, cluster::Setup, condition::within_deadline, eventually, usage::Usage,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const CONNECTIONS: usize = 200;
/// What a node's memory may grow by for reasons of its own while a test watches it: buffers of the log and
/// the store, pages that the allocator keeps. Tests send much more than this where it could pile up.
const OWN_GROWTH_BYTES: u64 = 128 << 20;

/// Time a client has to say what it wants, as it is configured where nothing is.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later the client may hear of its end, on a machine that does much else. Less than the time itself, so
/// that no connection can have it twice.
const SLACK: Duration = Duration::from_secs(4);
/// Connections that begin in the same way at the same time.
const ALIKE: usize = 5;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Opens many connections that send these bytes, then up to so many more and then nothing, and waits
/// until the server has ended them all.
async fn check_ends_by_itself(opening: &'static [u8], more_bytes: usize) {
    let cluster = Cluster::start().await;
    let before = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
        stream.write_all(opening).await.unwrap();
        connections.spawn(async move {
            let (mut from, mut to) = stream.split();
            let write = async {
                let filler = [b'x'; 16 << 10];
                for _ in 0..more_bytes / filler.len() {
                    // Refused half way is what it should be.
                    to.write_all(&filler).await.ok()?;
                }
                Some(())
            };
            let mut answer = Vec::new();
            // An end or a reset: either way it is over.
            let _ = tokio::join!(write, from.read_to_end(&mut answer));
            answer
        });
    }
    // Others are served while these are open.
    for number in 0..20 {
        let client = cluster.client(0);
        client
            .publish("meanwhile", format!("p#{number}"))
            .await
            .unwrap();
    }
    let open = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let growth = open.saturating_sub(before);
    assert!(growth < OWN_GROWTH_BYTES, "{growth} bytes more");
    within_deadline("the server ends them", connections.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_never_ends_is_not_waited_for() {
    check_ends_by_itself(b"GET /v1/messages/a HTTP/1.1\r\nHost: x\r\nX-Slow: ", 0).await;
}

/// 200 × 4 MiB in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_without_bounds_is_not_read_to_its_end() {
    check_ends_by_itself(
        b"GET /v1/messages/a HTTP/1.1\r\nHost: x\r\nX-Big: ",
        4 << 20,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_is_not_kept() {
    check_ends_by_itself(b"", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_no_protocol_end_the_connection() {
    check_ends_by_itself(b"\x00\x01\x02\x03 not a protocol \xff\xfe\r\n\r\n", 0).await;
}

/// Opens connections of each of these beginnings and says no more. The server waits for the rest, closes them
/// all in time, and has as many connections as before.
async fn check_half_open(setup: Setup, beginnings: Vec<(&'static str, Vec<u8>)>) {
    let cluster = Cluster::start_with(Setup { nodes: 1, ..setup }).await;
    let open = async || cluster.metric(0, "highwater_connections").await;
    // What has set the cluster up may still be connected.
    eventually("only who asks is connected", async || open().await <= 1.0).await;
    let before = open().await;
    let mut connections = JoinSet::new();
    for (what, bytes) in &beginnings {
        for _ in 0..ALIKE {
            let (what, bytes) = (*what, bytes.clone());
            let address = cluster.address(0).to_owned();
            connections.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let begun = Instant::now();
                stream.write_all(&bytes).await.unwrap();
                let mut answer = Vec::new();
                // An end or a reset: either way it is over.
                let _ = stream.read_to_end(&mut answer).await;
                (what, begun.elapsed(), answer)
            });
        }
    }
    // So many that they are seen, and others are served beside them.
    let half_open = (ALIKE * beginnings.len()) as f64;
    eventually("all of them are open", async || {
        open().await >= before + half_open
    })
    .await;
    cluster.client(0).publish("a", "meanwhile").await.unwrap();
    let ended = within_deadline("the server ends them", connections.join_all()).await;
    for (what, after, answer) in ended {
        let answer = answer.escape_ascii();
        assert!(
            after < HEADER_TIMEOUT + SLACK,
            "{what}: {after:?}, {answer}"
        );
        // Otherwise it was refused, which is another test's.
        assert!(after > HEADER_TIMEOUT / 2, "{what}: {after:?}, {answer}");
    }
    eventually("nothing of them is left", async || open().await <= before).await;
}

/// A handshake of a WebSocket with these headers.
fn upgrade(path: &str, headers: &str) -> Vec<u8> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}"
    );
    request.into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_begins_in_any_protocol_and_stops_is_closed_in_time() {
    // A CONNECT of MQTT 3.1.1, up to the length of the client's name.
    const HALF_CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0";
    let settings = frame(0x4, 0, 0, &[]);
    // GET http / in three bytes of the static table; END_STREAM, but not END_HEADERS.
    let half_headers = frame(0x1, 0x1, 1, &[0x82, 0x86, 0x84]);
    let mqtt = upgrade("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    // A masked binary frame of the right length, so that all of it is whole but the CONNECT.
    let in_frame = [
        &[0x82, 0x80 | HALF_CONNECT.len() as u8, 0, 0, 0, 0],
        HALF_CONNECT,
    ]
    .concat();
    let greeted = upgrade("/v1/ws", "\r\n");
    // A masked text frame of 16 bytes that has one.
    let half_frame = b"\x81\x90\0\0\0\0{";
    let beginnings = vec![
        ("nothing", vec![]),
        ("one byte of HTTP", b"G".to_vec()),
        (
            "half a header",
            b"POST /v1/messages/a HTTP/1.1\r\nHost: x\r\nAuth".to_vec(),
        ),
        (
            "half of a second header",
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHo".to_vec(),
        ),
        ("half a preface", PREFACE[..10].to_vec()),
        ("a preface without settings", PREFACE.to_vec()),
        (
            "no request after the settings",
            [PREFACE, &settings].concat(),
        ),
        (
            "half the headers of HTTP/2",
            [PREFACE, &settings, &half_headers].concat(),
        ),
        ("one byte of MQTT", b"\x10".to_vec()),
        ("half a CONNECT", HALF_CONNECT.to_vec()),
        ("half an upgrade", upgrade("/v1/ws", "Sec-WebSocket-Proto")),
        ("no credential", greeted.clone()),
        (
            "half the frame of a credential",
            [&greeted[..], half_frame].concat(),
        ),
        ("no CONNECT in a WebSocket", mqtt.clone()),
        ("half a CONNECT in a WebSocket", [mqtt, in_frame].concat()),
    ];
    check_half_open(Setup::default(), beginnings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_one_that_begins_with_tls_and_stops() {
    // The headers of a record and of a ClientHello of 508 bytes, its version, and some of its random.
    const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x01\x02\x03";
    let beginnings = vec![
        ("nothing", vec![]),
        ("one byte of TLS", HALF_HELLO[..1].to_vec()),
        ("half a record's header", HALF_HELLO[..4].to_vec()),
        ("half a ClientHello", HALF_HELLO.to_vec()),
    ];
    let setup = Setup {
        tls: true,
        ..Setup::default()
    };
    check_half_open(setup, beginnings).await;
}

/// Requests over HTTP/2 that are taken back as soon as they were sent (CVE-2023-44487).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_reset_streams_ends_its_connection_and_nothing_else() {
    let mut cluster = Cluster::start().await;
    cluster.allow_warning("remotely-reset pending-accept streams reached limit");
    let before = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(0x4, 0, 0, &[]));
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        // GET http / in three bytes of the static table; END_STREAM and END_HEADERS.
        flood.extend(frame(0x1, 0x5, stream, &[0x82, 0x86, 0x84]));
        flood.extend(frame(0x3, 0, stream, &8u32.to_be_bytes()));
    }
    let mut connections = JoinSet::new();
    for _ in 0..10 {
        let address = cluster.address(0).to_owned();
        let flood = flood.clone();
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (mut from, mut to) = stream.split();
            // Refused half way is what it should be.
            let write = async { to.write_all(&flood).await };
            let read = async {
                let mut answer = Vec::new();
                from.read_to_end(&mut answer).await
            };
            let (written, _) =
                tokio::join!(write, tokio::time::timeout(Duration::from_secs(50), read));
            written
        });
    }
    for number in 0..20 {
        let client = cluster.client(0);
        client
            .publish("meanwhile", format!("p#{number}"))
            .await
            .unwrap();
    }
    within_deadline("the floods end", connections.join_all()).await;
    let after = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    // 200,000 streams: kept, they would cost some kilobytes each.
    let growth = after.saturating_sub(before);
    assert!(growth < OWN_GROWTH_BYTES, "{growth} bytes more");
    cluster
        .client(0)
        .publish("meanwhile", "p#20")
        .await
        .unwrap();
}

/// One frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A client that vanishes without a word leaves a connection that only keep-alive can end; what it
/// had asked for must not pile up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_vanish_do_not_cost_memory() {
    let cluster = Cluster::start().await;
    let publisher = cluster.client(0);
    let payload = "v".repeat(16 << 10);
    publisher
        .publish_stream_of("vanish", &payload, 1_000, 50)
        .await
        .unwrap();
    let before = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    for _ in 0..300 {
        // Dropped right after the receipt, with megabytes on the way.
        let client = cluster.client(0);
        let live = client.subscribe(&["vanish"], "earliest").await.unwrap();
        drop(live);
    }
    publisher
        .publish_stream_of("vanish", &payload, 500, 50)
        .await
        .unwrap();
    let after = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let growth = after.saturating_sub(before);
    // Kept for each of them, what was on its way would be 300 × 16 MB. The records themselves are kept
    // until they are in a checkpoint.
    let asked_for = 300 * 1_000 * payload.len() as u64;
    assert!(growth < asked_for / 10, "{growth} bytes more");
}
