//! Files of released formats still open.

mod log;

use std::{fmt::Write, path::PathBuf};

use bytes::Bytes;
use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::fault::FaultDisk,
    log::{Entry, Log, LogId, LogOptions, ShardState, Vote},
};
use log::{Node, append};

const SEGMENT: &str = "0000000000000002.log";
const VOTE: Vote = Vote {
    term: 6,
    node: 2,
    committed: true,
};

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/log_format_1.hex")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 1_536,
        salt_seed: 1,
        ..LogOptions::default()
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId {
        term,
        node: 2,
        index,
    }
}

fn entry(term: u64, index: u64, payload: &'static str) -> Entry {
    Entry {
        id: id(term, index),
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

/// Every kind of record, in a second segment that is all there is.
fn write_sample() -> Vec<u8> {
    let mut node = Node::start_with(FaultDisk::new(), options());
    node.with(async |log| {
        let (first, second) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
        append(&first, vec![entry(5, 0, "zero"), entry(5, 1, "one")])
            .await
            .unwrap();
        second
            .save_vote(Vote {
                term: 1,
                node: 9,
                committed: false,
            })
            .await
            .unwrap();
        first.set_committed(id(5, 1));
        first.purge(id(5, 1)).await.unwrap();
        fill(&log).await;
        first.save_vote(VOTE).await.unwrap();
        append(
            &first,
            vec![
                entry(5, 2, "two"),
                entry(5, 3, "three"),
                entry(5, 4, "four"),
            ],
        )
        .await
        .unwrap();
        first.truncate_after(Some(3)).await.unwrap();
        first.set_committed(id(5, 2));
        first.purge(id(5, 2)).await.unwrap();
        append(&first, vec![entry(6, 4, "new four")]).await.unwrap();
        second.purge(id(3, 8)).await.unwrap();
    });
    assert_eq!(node.disk.contents("0000000000000001.log"), None);
    node.disk.contents(SEGMENT).unwrap()
}

/// Fills the first segment, with entries that are gone at once.
async fn fill(log: &Log) {
    let shard = log.shard(ShardId(3));
    let mut index = 0;
    while log.usage().segments == 1 && log.usage().spare_segments == 0 {
        append(&shard, vec![entry(1, index, "filler")])
            .await
            .unwrap();
        shard.purge(id(1, index)).await.unwrap();
        index += 1;
    }
}

fn check(contents: &[u8]) {
    let disk = FaultDisk::new();
    disk.put(SEGMENT, contents);
    Node::start_with(disk, options()).with(async |log| {
        let (first, second) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
        let state = ShardState {
            vote: Some(VOTE),
            committed: Some(id(5, 2)),
            purged: Some(id(5, 2)),
            last: Some(id(6, 4)),
        };
        assert_eq!(first.state(), state);
        assert_eq!(
            first.read(0..9, 1_000).unwrap(),
            [entry(5, 3, "three"), entry(6, 4, "new four")]
        );
        assert_eq!(
            second.state().vote,
            Some(Vote {
                term: 1,
                node: 9,
                committed: false
            })
        );
        assert_eq!(second.state().last, Some(id(3, 8)));
    });
}

/// Lines of 32 bytes, without the zeros at the end.
fn to_hex(bytes: &[u8]) -> String {
    let used = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let mut hex = String::new();
    for line in bytes[..used].chunks(32) {
        for byte in line {
            write!(hex, "{byte:02x}").unwrap();
        }
        hex.push('\n');
    }
    hex
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    let mut bytes: Vec<u8> = pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect();
    bytes.resize(options().segment_bytes as usize, 0);
    bytes
}

#[test]
fn a_log_of_format_1_still_opens() {
    check(&from_hex(&std::fs::read_to_string(sample()).unwrap()));
}

#[test]
fn what_is_written_today_is_what_the_sample_says() {
    check(&write_sample());
}

/// For a new format, under a new name: a sample that was released is never written again.
#[test]
#[ignore = "writes a file of the source tree"]
fn write_the_sample_of_a_new_format() {
    assert!(!sample().exists(), "a released sample stays as it is");
    std::fs::write(sample(), to_hex(&write_sample())).unwrap();
}
