//! Whoever is not a peer is turned away, soon and without costing much.

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::*;
use crate::stage::{Stage, patiently};

/// What node 2 says to node 1.
fn hello() -> wire::Hello {
    wire::Hello {
        node: 2,
        cluster: "stage".into(),
        version: VERSION,
        to: 1,
    }
}

fn frame(kind: Kind, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let frame = Frame {
        kind,
        shard: ShardId(0),
        id: 7,
        body: body.into(),
    };
    frame.encode(&mut bytes);
    bytes.to_vec()
}

fn says(change: impl Fn(&mut wire::Hello)) -> Vec<u8> {
    let mut hello = hello();
    change(&mut hello);
    frame(Kind::Hello, hello.encode_to_vec())
}

/// Calls node 1 and says something.
async fn call(stage: &Stage, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&stage.members[0].address).await.unwrap();
    // It may hang up before it has heard everything.
    let _ = stream.write_all(bytes).await;
    stream
}

/// Waits until the other side hangs up, and returns what it has said.
async fn heard(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The end may be a reset, when something was left unread.
    let _ = patiently(stream.read_to_end(&mut bytes)).await;
    bytes
}

async fn is_greeted(stage: &Stage) -> TcpStream {
    let mut stream = call(stage, &says(|_| {})).await;
    let mut bytes = vec![0; frame(Kind::Answer, Vec::new()).len()];
    patiently(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, frame(Kind::Answer, Vec::new()));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_peer_that_calls_this_node_of_this_cluster_is_answered() {
    let stage = Stage::start(3).await;
    let _peer = is_greeted(&stage).await;
    let mut too_long = frame(Kind::Hello, vec![0; PEER_HELLO_BYTES_MAX]);
    let whole = too_long.len();
    too_long.truncate(whole / 2);
    let strangers = [
        ("another cluster", says(|h| h.cluster = "production".into())),
        ("another node", says(|h| h.to = 3)),
        ("another version", says(|h| h.version = VERSION + 1)),
        ("a node that is no member", says(|h| h.node = 4)),
        ("this node", says(|h| h.node = 1)),
        ("no hello", frame(Kind::Ping, Vec::new())),
        ("no message", frame(Kind::Hello, vec![0xff; 20])),
        (
            "a kind that is none",
            frame(Kind::Hello, Vec::new())
                .into_iter()
                .map(|b| b | 0x40)
                .collect(),
        ),
        ("a long hello, not all of it", too_long),
        ("a length without end", vec![0xff; 8]),
        (
            "another protocol",
            b"GET /readyz HTTP/1.1\r\nHost: highwater\r\n\r\n".to_vec(),
        ),
        (
            "noise",
            (0..4_096u32)
                .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8)
                .collect(),
        ),
    ];
    for (who, said) in strangers {
        let stream = call(&stage, &said).await;
        assert_eq!(heard(stream).await, b"", "{who} is answered");
    }
    assert!(stage.cluster(1).wait_ready(crate::stage::DEADLINE).await);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_say_nothing_are_hung_up_on_and_do_not_keep_peers_out() {
    let stage = Stage::start(3).await;
    let mut silent = Vec::new();
    for spoken in 0..2 * PEER_HANDSHAKES_MAX {
        // Some say a little.
        let hello = says(|_| {});
        silent.push(call(&stage, &hello[..spoken % hello.len()]).await);
    }
    let _peer = is_greeted(&stage).await;
    for stream in silent {
        assert_eq!(heard(stream).await, b"");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_talks_nonsense_later_is_hung_up_on() {
    let stage = Stage::start(3).await;
    let entries = frame(Kind::Append, vec![0xff; 20]);
    for nonsense in [vec![0xff; 64], entries] {
        let mut peer = is_greeted(&stage).await;
        peer.write_all(&nonsense).await.unwrap();
        assert_eq!(heard(peer).await, b"");
    }
    // A request that is none is refused, and the connection goes on.
    let mut peer = is_greeted(&stage).await;
    for shard in [0, 999] {
        let mut vote = frame(Kind::Vote, vec![0xff; 20]);
        vote[5..9].copy_from_slice(&u32::to_be_bytes(shard));
        peer.write_all(&vote).await.unwrap();
        let mut reader = Reader::new(&mut peer, PEER_FRAME_BYTES_MAX);
        let answer = patiently(reader.next()).await.unwrap().unwrap();
        assert_eq!((answer.kind, answer.id), (Kind::Refused, 7));
    }
    stage.stop().await;
}
