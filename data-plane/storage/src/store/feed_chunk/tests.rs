//! A feed chunk gives back its runs, and nothing else passes for one.

use proptest::prelude::*;

use super::*;

fn runs(parts: Vec<(u64, u64, u64, u64, u64)>) -> Vec<Run> {
    let (mut position, mut time_ms) = (50, 1_000);
    let mut runs = Vec::new();
    for (topic, base_offset, skipped, elapsed, records) in parts {
        position += skipped;
        time_ms += elapsed;
        runs.push(Run {
            topic: TopicId(topic),
            base_offset,
            block_offset: base_offset - base_offset.min(skipped),
            base_position: position,
            records,
            time_ms,
        });
        position += records;
    }
    runs
}

proptest! {
    #[test]
    fn chunks_give_back_their_runs(parts in prop::collection::vec((0u64..9, 0u64..1 << 40, 1u64..3, 0u64..3, 1u64..9), 1..50), at: prop::sample::Index) {
        let before = runs(parts);
        let mut builder = FeedChunkBuilder::default();
        for run in &before {
            prop_assert!(builder.push(*run));
        }
        let (first, chunk) = builder.finish().unwrap();
        prop_assert_eq!(first, before[0].base_position);
        prop_assert_eq!(first_time_ms(&chunk), Ok(before[0].time_ms));
        prop_assert_eq!(&decode(first, &chunk).unwrap(), &before);
        let mut damaged = chunk;
        let at = at.index(damaged.len());
        damaged[at] ^= 1;
        prop_assert!(decode(first, &damaged).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(0, &bytes);
        let _ = first_time_ms(&bytes);
    }
}

#[test]
fn a_chunk_has_a_limit_and_joins_what_follows() {
    let mut builder = FeedChunkBuilder::default();
    let run = |i: u64| Run {
        topic: TopicId(1),
        base_offset: i,
        block_offset: 0,
        base_position: 2 * i,
        records: 1,
        time_ms: 0,
    };
    for i in 0..FEED_CHUNK_RUNS_MAX as u64 {
        assert!(builder.push(run(i)));
    }
    assert!(!builder.push(run(FEED_CHUNK_RUNS_MAX as u64)));
    let last = run(FEED_CHUNK_RUNS_MAX as u64 - 1);
    let next = Run {
        base_offset: last.end_offset(),
        base_position: last.end_position(),
        ..last
    };
    assert!(builder.push(next));
    let (first, chunk) = builder.finish().unwrap();
    let decoded = decode(first, &chunk).unwrap();
    assert_eq!(
        (decoded.len(), decoded.last().unwrap().records),
        (FEED_CHUNK_RUNS_MAX, 2)
    );
}
