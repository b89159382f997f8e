//! The decoder against another implementation, tungstenite, wherever the two should agree.

use std::io::{self, Cursor, Read, Write};

use highwater_websocket::{Decoder, Event, Opcode, Role, Violation, frame as server};
use proptest::{collection::vec, prelude::*};
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{self, WebSocketConfig},
};

use crate::wire::{
    BINARY, CLOSE, CONT, End, FIN, KEY, PING, PONG, TEXT, binary, close, decode, frame, ping, pong,
    text,
};

const LIMIT: usize = 1_000;

/// A socket on which the input has arrived, and whose other end reads nothing.
struct Socket(Cursor<Vec<u8>>);

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of the input, and the close code it fails with.
fn theirs(input: &[u8]) -> (Vec<Event>, Result<(), u16>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let socket = Socket(Cursor::new(input.to_vec()));
    let mut socket = WebSocket::from_raw_socket(socket, protocol::Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Text(payload)) => text(&payload),
            Ok(Message::Binary(payload)) => Event::Binary(payload),
            Ok(Message::Ping(payload)) => Event::Ping(payload),
            Ok(Message::Pong(payload)) => Event::Pong(payload),
            Ok(Message::Close(None)) => return closed(events, Event::Close(None)),
            Ok(Message::Close(Some(frame))) => {
                return closed(events, close(frame.code.into(), &frame.reason));
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives no frames"),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return (events, Ok(())),
            Err(Error::Utf8(_)) => return (events, Err(1007)),
            Err(Error::Capacity(_)) => return (events, Err(1009)),
            Err(_) => return (events, Err(1002)),
        });
    }
}

fn closed(mut events: Vec<Event>, last: Event) -> (Vec<Event>, Result<(), u16>) {
    events.push(last);
    (events, Ok(()))
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        FIN | TEXT,
        FIN | BINARY,
        TEXT,
        BINARY,
        CONT,
        CONT,
        FIN | CONT,
        FIN | CONT,
        PING,
        PONG,
    ]);
    let payload = prop_oneof![
        4 => "\\PC{0,30}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
        1 => (0..1_100usize).prop_map(|len| vec![b'x'; len]),
    ];
    // Without 1014, which tungstenite does not know.
    let close_body = (
        prop_oneof![990..1014u16, 1015..1020u16, 2990..5010u16],
        "\\PC{0,10}",
    )
        .prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat());
    prop_oneof![
        12 => (first, payload).prop_map(|(first, payload)| frame(first, payload)),
        1 => close_body.prop_map(|body| frame(CLOSE, body)),
        1 => (any::<u8>(), vec(any::<u8>(), 0..130)).prop_map(|(first, payload)| frame(first, payload)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_tungstenite_reads_is_read_the_same(frames in vec(any_frame(), 0..8)) {
        let input = frames.concat();
        let (our_events, end) = decode(Decoder::new(Role::Server, LIMIT, None), [&input[..]]);
        let (mut their_events, failure) = theirs(&input);
        match (end, failure) {
            // Invalid text fails at once, there when its message is complete.
            (End::Fails(Violation::Utf8), _) => {
                their_events.truncate(our_events.len());
            }
            // It answers an invalid code, and passes it on all the same.
            (End::Fails(Violation::CloseCode), Ok(())) => {
                their_events.pop();
            }
            // Of a frame that breaks two rules, its length is looked at first there, and the reason of a
            // close frame before its code.
            (End::Fails(ours), Err(1009)) if ours.close_code() == 1002 => {}
            (End::Fails(Violation::CloseCode), Err(1007)) => {}
            (End::Fails(ours), Err(theirs)) => {
                prop_assert_eq!(ours.close_code(), theirs, "{}", ours)
            }
            (End::Open | End::Closed, Ok(())) => {}
            (ours, theirs) => prop_assert!(false, "{:?} against {:?}", ours, theirs),
        }
        prop_assert_eq!(our_events, their_events);
    }

    #[test]
    fn what_is_written_tungstenite_reads(payload in vec(any::<u8>(), 0..800), key in any::<[u8; 4]>()) {
        let input = [
            server::masked(Opcode::Binary, &payload, key),
            server::masked(Opcode::Ping, &payload[..payload.len().min(125)], key),
        ].concat();
        let expected = vec![binary(&payload), ping(&payload[..payload.len().min(125)])];
        prop_assert_eq!(theirs(&input), (expected, Ok(())));
    }
}

#[test]
fn the_oracle_reads_every_kind_of_event() {
    let input = [
        frame(FIN | TEXT, "a"),
        frame(PING, "b"),
        frame(PONG, "c"),
        frame(CLOSE, [3, 232]),
    ];
    let expected = vec![text("a"), ping(b"b"), pong(b"c"), close(1000, "")];
    assert_eq!(theirs(&input.concat()), (expected, Ok(())));
    let masked = server::masked(Opcode::Close, &[], KEY);
    assert_eq!(theirs(&masked), (vec![Event::Close(None)], Ok(())));
}
