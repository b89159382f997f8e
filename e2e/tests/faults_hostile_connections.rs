//! Connections that mean no good: they end by themselves, cost bounded memory, and others are served meanwhile.

use std::time::Duration;

use highwater_e2e::{Cluster, condition::within_deadline, usage::Usage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const CONNECTIONS: usize = 200;
/// What a node's memory may grow by for reasons of its own while a test watches it: buffers of the log and
/// the store, pages that the allocator keeps. Tests send much more than this where it could pile up.
const OWN_GROWTH_BYTES: u64 = 128 << 20;

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

/// Requests over HTTP/2 that are taken back as soon as they were sent (CVE-2023-44487).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_reset_streams_ends_its_connection_and_nothing_else() {
    let mut cluster = Cluster::start().await;
    cluster.allow_warning("remotely-reset pending-accept streams reached limit");
    let before = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    let mut flood = Vec::from(*b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
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
