//! Memory: a decompression bomb is refused within the limit, and what an idle connection holds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress};
use highwater_websocket::{
    Agreement, Decoder, Deflater, Event, Header, Opcode, Policy, Role, Violation, mask,
    negotiation::negotiate,
};

/// Counts what a test's thread has allocated, and the most that it ever had.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; only counters are kept beside it. A
// reallocation goes through `alloc` and `dealloc`, so that the old and the new memory are counted
// together, as they would be if it were moved.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get() + layout.size();
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // What another thread has allocated was never counted here.
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMIT: usize = 1 << 20;
const READ_BYTES: usize = 4096;
const KEY: [u8; 4] = [1, 2, 3, 4];

#[test]
fn a_decompression_bomb_is_refused_within_the_limit() {
    let bomb = bomb(1 << 30);
    assert!(
        bomb.len() < LIMIT + LIMIT / 8,
        "its header alone is admitted"
    );
    let agreement = agreement();

    let before = LIVE.get();
    PEAK.set(before);
    let mut decoder = Decoder::new(Role::Server, LIMIT, agreement);
    let mut buf = BytesMut::with_capacity(READ_BYTES);
    let (mut outcome, mut fed_bytes) = (Ok(None), 0);
    for piece in bomb.chunks(READ_BYTES) {
        buf.extend_from_slice(piece);
        fed_bytes += piece.len();
        outcome = decoder.feed(&mut buf);
        if outcome != Ok(None) {
            break;
        }
    }
    let peak_bytes = PEAK.get() - before;
    drop(buf);
    let kept_bytes = LIVE.get() - before;

    assert_eq!(outcome, Err(Violation::MessageTooBig));
    assert!(
        fed_bytes <= 2 * READ_BYTES,
        "it stops at the first byte too many"
    );
    // The old half and the new whole while the buffer grows for the last time, and the inflater.
    assert!(peak_bytes < LIMIT + LIMIT / 2 + (64 << 10), "{peak_bytes}");
    assert_eq!(kept_bytes, 0, "a connection that has failed holds nothing");
    eprintln!("refused after {fed_bytes} bytes, with {peak_bytes} bytes at most");
}

#[test]
fn an_idle_connection_holds_its_decoder_only() {
    let agreement = agreement();
    let compressed = Deflater::new(15, 6, 0).masked(Opcode::Text, &[b'a'; 500], KEY);
    let fragment = |fin, opcode| {
        let header = Header {
            fin,
            mask: Some([0; 4]),
            ..Header::of(opcode, 1)
        };
        [&header.encode()[..], b"a"].concat()
    };
    let fragments = [
        fragment(false, Opcode::Text),
        fragment(true, Opcode::Continuation),
    ]
    .concat();

    let before = LIVE.get();
    let mut decoder = Decoder::new(Role::Server, LIMIT, agreement);
    for frames in [&compressed[..], &fragments, &compressed] {
        let mut buf = BytesMut::from(frames);
        assert!(matches!(decoder.feed(&mut buf), Ok(Some(Event::Text(_)))));
    }
    let kept_bytes = LIVE.get() - before;
    assert_eq!(kept_bytes, 0);
    assert!(size_of_val(&decoder) <= 128);
}

#[test]
fn a_compressed_message_that_has_begun_holds_little_more_than_was_sent() {
    let agreement = agreement();
    let begun = &bomb(8 << 20)[..3000];
    let before = LIVE.get();
    let mut decoder = Decoder::new(Role::Server, LIMIT, agreement);
    for piece in begun.chunks(100) {
        assert_eq!(decoder.feed(&mut BytesMut::from(piece)), Ok(None));
    }
    let kept_bytes = LIVE.get() - before;
    assert!(kept_bytes < 5_000, "{kept_bytes}");
}

#[test]
fn a_context_takes_one_window() {
    let policy = Policy {
        client_context_takeover: true,
        ..Policy::default()
    };
    let agreement = negotiate(["permessage-deflate"], &policy).unwrap();
    let mut deflater = Deflater::new(15, 6, 0);
    let frames = [10, 40_000, 300, 20_000, 20_000, 1 << 20]
        .map(|len| deflater.masked(Opcode::Binary, &vec![b'a'; len], KEY));
    let before = LIVE.get();
    let mut decoder = Decoder::new(Role::Server, LIMIT, agreement);
    for frame in frames.iter().chain(&frames) {
        let mut buf = BytesMut::from(&frame[..]);
        assert!(matches!(decoder.feed(&mut buf), Ok(Some(Event::Binary(_)))));
        drop(buf);
        assert!(LIVE.get() - before <= 32 << 10);
    }
    assert_eq!(LIVE.get() - before, 32 << 10);
}

#[test]
fn a_deflater_is_too_large_for_a_connection_and_small_enough_for_a_thread() {
    let before = LIVE.get();
    let mut deflater = Deflater::new(15, 6, 0);
    drop(deflater.shared(Opcode::Binary, &[b'a'; 10_000]));
    let kept_bytes = LIVE.get() - before;
    assert!((100 << 10..400 << 10).contains(&kept_bytes), "{kept_bytes}");
    eprintln!("deflater of {kept_bytes} bytes");
}

fn agreement() -> Option<Agreement> {
    negotiate(["permessage-deflate"], &Policy::default()).unwrap()
}

/// One frame of a client that inflates to so many zeros.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut stream = Compress::new(Compression::best(), false);
    let chunk = vec![0; 1 << 20];
    let mut payload = Vec::with_capacity(zeros / 900 + 1024);
    for _ in 0..zeros / chunk.len() {
        stream
            .compress_vec(&chunk, &mut payload, FlushCompress::None)
            .unwrap();
    }
    stream
        .compress_vec(&[], &mut payload, FlushCompress::Sync)
        .unwrap();
    payload.truncate(payload.len() - 4);
    mask::apply(&mut payload, KEY, 0);
    let header = Header {
        rsv1: true,
        mask: Some(KEY),
        ..Header::of(Opcode::Binary, payload.len())
    };
    [&header.encode(), &payload[..]].concat()
}
