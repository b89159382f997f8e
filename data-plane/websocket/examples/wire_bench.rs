//! Prints what one frame costs to decode and to encode, in nanoseconds of one core.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, time::Instant};

use bytes::{Bytes, BytesMut};
use highwater_websocket::{
    Decoder, Deflater, Opcode, Policy, Role, frame, mask, negotiation::negotiate,
};

const FRAMES: usize = 512;
const ROUNDS: usize = 400;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMIT: usize = 1 << 20;

fn main() {
    for len in [128, 1024] {
        let payload = json(len);
        let agreement = negotiate(["permessage-deflate"], &Policy::default()).unwrap();
        let mut deflater = Deflater::new(15, 6, 128);

        let plain = frame::masked(Opcode::Text, &payload, KEY);
        decode(&format!("decode masked text, {len} B"), &plain, || {
            Decoder::new(Role::Server, LIMIT, None)
        });
        let compressed = deflater.masked(Opcode::Text, &payload, KEY);
        decode(
            &format!("inflate masked text, {len} B"),
            &compressed,
            || Decoder::new(Role::Server, LIMIT, agreement),
        );
        measure(&format!("encode shared frame, {len} B"), FRAMES, || {
            for _ in 0..FRAMES {
                black_box(frame::shared(Opcode::Text, black_box(&payload)));
            }
        });
        measure(&format!("append to a run, {len} B"), FRAMES, || {
            let mut run = BytesMut::with_capacity(FRAMES * (len + 10));
            for _ in 0..FRAMES {
                frame::append(&mut run, Opcode::Text, black_box(&payload));
            }
            black_box(run);
        });
        measure(&format!("deflate shared frame, {len} B"), 16, || {
            for _ in 0..16 {
                black_box(deflater.shared(Opcode::Text, black_box(&payload)));
            }
        });
    }
    let mut piece = vec![1; 64 << 10];
    measure("unmask, 64 KiB", 1, || {
        mask::apply(black_box(&mut piece), KEY, 0)
    });
    println!("{:>40} {:>9} B", "decoder", size_of::<Decoder>());
}

fn decode(name: &str, one: &Bytes, decoder: impl Fn() -> Decoder) {
    let input = one.repeat(FRAMES);
    // The buffer is filled outside of what is measured: reading is the socket's.
    let mut best = u128::MAX;
    for _ in 0..ROUNDS / 4 {
        let mut decoder = decoder();
        let mut buf = BytesMut::from(&input[..]);
        let began = Instant::now();
        let mut events = 0;
        while let Some(event) = decoder.feed(&mut buf).expect("valid frames") {
            black_box(event);
            events += 1;
        }
        best = best.min(began.elapsed().as_nanos());
        assert_eq!(events, FRAMES);
    }
    report(name, best, FRAMES);
}

fn measure(name: &str, count: usize, mut run: impl FnMut()) {
    let best = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        run();
        began.elapsed().as_nanos()
    });
    report(name, best.min().unwrap_or_default(), count);
}

fn report(name: &str, ns: u128, count: usize) {
    println!("{name:>40} {:>9.1} ns", ns as f64 / count as f64);
}

fn json(len: usize) -> Vec<u8> {
    let records = (0..).map(|i| format!(r#"{{"id":{i},"amount":{}}},"#, i * 7919 % 1000));
    records.flat_map(String::into_bytes).take(len).collect()
}
