//! A block gives back what went in, and nothing else passes for one.

use highwater_proto::{ids::ProjectId, ids::TopicId, names::TopicName};
use proptest::prelude::*;

use super::*;

fn topic() -> Arc<TopicIdentity> {
    let name = TopicName::try_from("a/b").unwrap();
    Arc::new(TopicIdentity::new(
        ProjectId::from_bytes([7; 16]),
        name,
        TopicId(3),
    ))
}

/// Segments that follow each other: positions skipped before each, milliseconds since, messages.
fn segments(parts: Vec<(u64, u64, Vec<Vec<u8>>)>) -> Vec<Arc<Segment>> {
    let (mut offset, mut position, mut bytes, mut time_ms) = (100, 1_000, 5_000, 1_700_000_000_000);
    let topic = topic();
    let mut segments = Vec::new();
    for (skipped, elapsed, messages) in parts {
        position += skipped;
        time_ms += elapsed;
        let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
        let segment = Segment::new(topic.clone(), offset, position, bytes, time_ms, messages);
        offset = segment.end_offset();
        position = segment.end_position();
        bytes += segment.bytes() as u64;
        segments.push(Arc::new(segment));
    }
    segments
}

fn encode(segments: &[Arc<Segment>]) -> Vec<(u64, Bytes)> {
    let mut builder = BlockBuilder::default();
    let mut blocks = Vec::new();
    for segment in segments {
        let mut before = 0;
        for index in 0..segment.messages.len() {
            if !builder.push(segment, index, before) {
                blocks.extend(builder.finish());
                assert!(builder.push(segment, index, before));
            }
            before += segment.messages[index].len() as u64;
        }
    }
    blocks.extend(builder.finish());
    let blocks = blocks.into_iter();
    blocks.map(|(offset, b)| (offset, b.into())).collect()
}

/// One line for each record: offset, position, bytes before, time, message.
type Records = Vec<(u64, u64, u64, u64, Bytes)>;

fn records(segments: &[Arc<Segment>]) -> Records {
    let mut records = Records::new();
    for s in segments {
        let mut bytes = s.base_bytes;
        for (i, message) in s.messages.iter().enumerate() {
            let i = i as u64;
            let record = (s.base_offset + i, s.base_position + i, bytes, s.time_ms);
            records.push((record.0, record.1, record.2, record.3, message.clone()));
            bytes += message.len() as u64;
        }
    }
    records
}

fn any_parts() -> impl Strategy<Value = Vec<(u64, u64, Vec<Vec<u8>>)>> {
    let message = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (1usize..60_000).prop_map(|n| vec![9; n]),
    ];
    let messages = prop::collection::vec(message, 1..6);
    prop::collection::vec((0u64..3, 0u64..3, messages), 1..12)
}

proptest! {
    #[test]
    fn blocks_give_back_their_records(parts in any_parts()) {
        let before = segments(parts);
        let mut after = Vec::new();
        for (base_offset, value) in encode(&before) {
            let block = Block::decode(value).unwrap();
            prop_assert_eq!(block.header().base_offset, base_offset);
            prop_assert!(block.header().bytes <= BLOCK_BYTES_MAX as u64 || block.header().records == 1);
            after.extend(block.segments(&topic()));
        }
        prop_assert_eq!(records(&before), records(&after));
    }

    #[test]
    fn records_are_found_by_size_and_time(parts in any_parts(), bytes in 4_900u64..40_000, elapsed in 0u64..40) {
        let all = segments(parts);
        let time = 1_700_000_000_000 + elapsed;
        for (_, value) in encode(&all) {
            let block = Block::decode(value).unwrap();
            let inside = records(&block.segments(&topic()));
            let end = block.header().end_offset();
            let by_time = inside.iter().find(|r| r.3 >= time).map_or(end, |r| r.0);
            prop_assert_eq!(block.offset_at_time(time), by_time);
            let by_bytes = inside.iter().find(|r| r.2 >= bytes).map_or(end, |r| r.0);
            prop_assert_eq!(block.offset_at_bytes(bytes), by_bytes);
            for record in &inside {
                prop_assert_eq!(block.bytes_before(record.0), record.2);
            }
        }
    }

    #[test]
    fn a_damaged_byte_is_noticed(parts in any_parts(), at: prop::sample::Index, flip in 1u8..) {
        let (_, value) = encode(&segments(parts)).remove(0);
        let mut damaged = value.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        prop_assert!(Block::decode(damaged.into()).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Block::decode(bytes.clone().into());
        // Past the checksum as well.
        if bytes.len() > TABLES_AT {
            bytes[..CRC_AT].copy_from_slice(&[VERSION, 0, 0, 0]);
            let crc = checksum(&bytes).to_le_bytes();
            bytes[CRC_AT..HEADER_AT].copy_from_slice(&crc);
            let _ = Block::decode(bytes.into());
        }
    }
}

#[test]
fn what_is_published_at_once_is_one_run() {
    let parts = vec![
        (0, 0, vec![vec![1; 10]]),
        (0, 0, vec![vec![2; 10]]),
        (1, 0, vec![vec![3; 10]]),
    ];
    let (_, value) = encode(&segments(parts)).remove(0);
    assert_eq!(Block::decode(value).unwrap().header().runs, 2);
}
