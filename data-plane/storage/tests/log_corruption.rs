//! Damage to what was durable is named, whatever bit it hits; a failing disk ends the log for good.

mod log;

use std::{io::ErrorKind, sync::Arc};

use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::fault::{FaultDisk, Operation},
    log::{Log, LogError, LogOptions, ShardState, Vote},
};
use log::{Node, append, block_on, entries, id, options};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const FIRST: &str = "0000000000000001.log";
const SECOND: &str = "0000000000000002.log";

/// Two segments, the second one with a few batches, cleanly stopped.
fn two_segments() -> (Node, ShardState) {
    let mut node = Node::start(FaultDisk::new());
    let state = node.with(async |log| {
        let shard = log.shard(ShardId(1));
        for start in 0..22 {
            append(&shard, entries(1, start..start + 1, 900))
                .await
                .unwrap();
        }
        assert_eq!(log.usage().segments, 2);
        shard.state()
    });
    (node, state)
}

#[test]
fn every_flipped_bit_before_the_mark_of_a_clean_stop_is_reported_with_its_place() {
    let (node, state) = two_segments();
    for name in [FIRST, SECOND] {
        let intact = node.disk.contents(name).unwrap();
        let batches = batch_offsets(&intact);
        let (&mark, before) = batches.split_last().unwrap();
        let end = if name == FIRST {
            intact.len() as u64
        } else {
            mark
        };
        for offset in 0..end {
            node.disk.flip_bit(name, offset, (offset % 8) as u8);
            let opened = Log::open(Arc::new(node.disk.clone()), options());
            node.disk.flip_bit(name, offset, (offset % 8) as u8);
            match opened {
                Err(LogError::Corrupted {
                    file, offset: at, ..
                }) => {
                    assert_eq!(file, name);
                    let batch = before
                        .iter()
                        .chain([&mark])
                        .rev()
                        .find(|&&batch| batch <= offset);
                    assert_eq!(at, *batch.unwrap_or(&0), "byte {offset}");
                }
                Err(error) => panic!("byte {offset} of {name}: {error}"),
                // Padding means nothing, and neither do the bytes behind the last batch.
                Ok((log, _)) => {
                    assert_eq!(log.shard(ShardId(1)).state(), state);
                    assert_eq!(intact[offset as usize], 0, "byte {offset} of {name}");
                }
            }
        }
    }
}

/// Where batches begin: every one of these tests has a salt, and a header has it at 24.
fn batch_offsets(segment: &[u8]) -> Vec<u64> {
    let salt = &segment[24..32];
    (64..segment.len())
        .step_by(64)
        .filter(|&at| &segment[at + 24..at + 32] == salt)
        .map(|at| at as u64)
        .collect()
}

#[test]
fn a_batch_that_is_gone_altogether_is_missed() {
    let (node, _) = two_segments();
    let intact = node.disk.contents(SECOND).unwrap();
    let batches = batch_offsets(&intact);
    let mut without = intact.clone();
    without[batches[1] as usize..batches[2] as usize].fill(0);
    node.disk.put(SECOND, &without);
    let error = Log::open(Arc::new(node.disk.clone()), options())
        .err()
        .unwrap();
    let expected = format!(
        "log file {SECOND} is corrupted at byte {}: a batch is damaged",
        batches[1]
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let mut node = Node::start(FaultDisk::new());
    node.with(async |log| {
        for start in 0..50 {
            append(&log.shard(ShardId(1)), entries(1, start..start + 1, 900))
                .await
                .unwrap();
        }
    });
    let third = node.disk.contents("0000000000000003.log").unwrap();
    for (kept, missing) in [([1, 3], SECOND), ([2, 3], SECOND)] {
        let disk = FaultDisk::new();
        for segment in kept {
            let name = format!("{segment:016x}.log");
            disk.put(&name, &node.disk.contents(&name).unwrap());
        }
        let error = Log::open(Arc::new(disk), options()).err().unwrap();
        assert!(
            matches!(&error, LogError::Corrupted { file, .. } if file == missing),
            "{error}"
        );
    }
    let disk = FaultDisk::new();
    disk.put(SECOND, &third);
    let error = Log::open(Arc::new(disk), options()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("the header is that of segment 3"),
        "{error}"
    );
}

#[test]
fn a_bit_that_flips_while_the_log_runs_is_found_when_it_is_read() {
    let uncached = LogOptions {
        cache_bytes_max: 0,
        ..options()
    };
    let mut node = Node::start_with(FaultDisk::new(), uncached);
    let disk = node.disk.clone();
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..3, 900)).await.unwrap();
        disk.flip_bit(FIRST, 1_500, 3);
        assert_eq!(shard.read(0..1, 1).unwrap().len(), 1);
        let error = shard.read(0..3, usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(FIRST), "{error}");
    });
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_written_any_more() {
    for (operation, errno, kind, doing) in [
        (Operation::Sync, EIO, None, "sync a batch"),
        (Operation::Write, EIO, None, "write a batch"),
        (
            Operation::Write,
            ENOSPC,
            Some(ErrorKind::StorageFull),
            "write a batch",
        ),
    ] {
        let mut node = Node::start(FaultDisk::new());
        let disk = node.disk.clone();
        node.with(async |log| {
            let shard = log.shard(ShardId(1));
            append(&shard, entries(1, 0..3, 10)).await.unwrap();
            assert_eq!(log.failure(), None);
            let mut watch = log.watch_failure();

            disk.fail_after(operation, 0, errno);
            let error = append(&shard, entries(1, 3..6, 10)).await.unwrap_err();
            watch.changed().await.unwrap();
            let failure = log.failure().unwrap();
            assert_eq!(
                (failure.doing(), error.to_string()),
                (doing, failure.to_string())
            );
            assert!(kind.is_none_or(|kind| kind == error.kind() && kind == failure.kind()));

            // The disk is well again; the log is not.
            disk.heal();
            let changes = disk.changes();
            let again = append(&shard, entries(1, 6..7, 10)).await.unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
            let vote = log
                .shard(ShardId(2))
                .save_vote(Vote::default())
                .await
                .unwrap_err();
            assert_eq!(vote.to_string(), error.to_string());
            assert!(shard.truncate_after(Some(1)).await.is_err());
            assert!(shard.purge(id(1, 1)).await.is_err());
            assert_eq!(disk.changes(), changes);
        });
    }
}

#[test]
fn a_disk_that_fills_up_at_a_new_segment_ends_the_log_and_loses_nothing() {
    let mut node = Node::start(FaultDisk::new());
    let disk = node.disk.clone();
    let durable = node.with(async |log| {
        let shard = log.shard(ShardId(1));
        disk.fail_after(Operation::Create, 0, ENOSPC);
        let mut durable = 0;
        while append(&shard, entries(1, durable..durable + 1, 900))
            .await
            .is_ok()
        {
            durable += 1;
        }
        assert_eq!(log.failure().unwrap().doing(), "start a segment");
        assert_eq!(log.failure().unwrap().kind(), ErrorKind::StorageFull);
        durable
    });
    assert!(durable > 10);
    node.disk.crash(1);
    node.with(async |log| {
        assert_eq!(
            log.shard(ShardId(1)).read(0..100, usize::MAX).unwrap(),
            entries(1, 0..durable, 900)
        );
    });
}

#[test]
fn a_writer_that_is_dropped_is_a_failure() {
    let (log, writer) = Log::open(Arc::new(FaultDisk::new()), options()).unwrap();
    drop(writer);
    assert_eq!(log.failure().unwrap().kind(), ErrorKind::BrokenPipe);
    assert!(block_on(log.shard(ShardId(1)).save_vote(Vote::default())).is_err());
}

#[test]
fn a_commit_that_the_log_does_not_reach_is_not_saved() {
    let mut node = Node::start(FaultDisk::new());
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..3, 10)).await.unwrap();
        shard.set_committed(id(1, 1));
        shard.save_vote(Vote::default()).await.unwrap();
        shard.set_committed(id(1, 7));
        shard.save_vote(Vote::default()).await.unwrap();
    });
    node.with(async |log| assert_eq!(log.shard(ShardId(1)).state().committed, Some(id(1, 1))));
}
