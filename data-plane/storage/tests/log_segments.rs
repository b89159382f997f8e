//! Files of the log: when the oldest go, how they come back, and that what they held before is never seen again.

mod log;

use std::sync::Arc;

use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::fault::FaultDisk,
    log::{Log, LogOptions, ShardState, Vote},
};
use log::{Node, append, entries, id, options};

#[test]
fn purged_segments_are_reused_and_their_bytes_are_not_seen_again() {
    let mut node = Node::start_with(
        FaultDisk::new(),
        LogOptions {
            spare_segments_max: 1,
            ..options()
        },
    );
    let disk = node.disk.clone();
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        for start in 0..400 {
            append(&shard, entries(1, start..start + 1, 500))
                .await
                .unwrap();
            if start % 10 == 9 {
                shard.purge(id(1, start - 5)).await.unwrap();
            }
        }
        shard.save_vote(Vote::default()).await.unwrap();
        let usage = log.usage();
        assert!(
            usage.segments <= 2 && usage.spare_segments <= 1,
            "{usage:?}"
        );
        assert_eq!(
            usage.disk_bytes,
            (usage.segments + usage.spare_segments) * options().segment_bytes
        );
        assert!(usage.written_bytes > 5 * usage.disk_bytes, "{usage:?}");
    });
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        assert_eq!(shard.live(), 395..400);
        assert_eq!(
            shard.read(0..1_000, usize::MAX).unwrap(),
            entries(1, 395..400, 500)
        );
    });
    // No file was made after the first few, so those in use have a past.
    assert_eq!(disk.contents("0000000000000001.spare"), None);
}

#[test]
fn what_a_sealed_log_held_is_in_no_file_once_it_is_let_go() {
    let mut node = Node::start(FaultDisk::new());
    let disk = node.disk.clone();
    let mut sealed = 0;
    node.with(async |log| {
        let (busy, idle) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
        append(&idle, entries(1, 0..1, 500)).await.unwrap();
        for start in 0..100 {
            append(&busy, entries(1, start..start + 1, 500))
                .await
                .unwrap();
        }
        // Some files wait to be reused by now.
        idle.purge(id(1, 0)).await.unwrap();
        busy.purge(id(1, 90)).await.unwrap();
        busy.save_vote(Vote::default()).await.unwrap();
        assert!(log.usage().spare_segments > 0);
        sealed = log.seal().await.unwrap();
        append(&busy, entries(1, 100..101, 500)).await.unwrap();
        assert!(log.oldest_segment() < sealed, "what is live stays");
        busy.purge(id(1, 99)).await.unwrap();
        busy.save_vote(Vote::default()).await.unwrap();
        assert_eq!(log.oldest_segment(), sealed);
        assert_eq!(log.usage().spare_segments, 0);
    });
    for segment in 1..sealed {
        for kind in ["log", "spare"] {
            assert_eq!(disk.contents(&format!("{segment:016x}.{kind}")), None);
        }
    }
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        assert_eq!(shard.live(), 100..101);
        // From then on files are reused again.
        for start in 101..200 {
            append(&shard, entries(1, start..start + 1, 500))
                .await
                .unwrap();
            shard.purge(id(1, start - 1)).await.unwrap();
        }
        shard.save_vote(Vote::default()).await.unwrap();
        assert!(log.usage().spare_segments > 0);
    });
}

#[test]
fn an_idle_shard_holds_a_segment_until_it_is_purged_and_keeps_its_vote_after() {
    let mut node = Node::start(FaultDisk::new());
    let vote = Vote {
        term: 7,
        node: 3,
        committed: true,
    };
    node.with(async |log| {
        let (idle, busy) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
        append(&idle, entries(1, 0..3, 100)).await.unwrap();
        idle.save_vote(vote).await.unwrap();
        idle.set_committed(id(1, 2));
        assert_eq!(log.oldest_segment_holdouts(), []);
        for start in 0..100 {
            append(&busy, entries(1, start..start + 1, 900))
                .await
                .unwrap();
        }
        busy.purge(id(1, 95)).await.unwrap();
        busy.save_vote(vote).await.unwrap();
        assert_eq!(log.oldest_segment_holdouts(), [(ShardId(1), 2)]);
        assert!(log.usage().segments > 5);

        idle.purge(id(1, 2)).await.unwrap();
        busy.save_vote(vote).await.unwrap();
        assert_eq!(log.usage().segments, 1);
        assert_eq!(log.usage().spare_segments, 2);
    });
    node.with(async |log| {
        let last = Some(id(1, 2));
        let state = ShardState {
            vote: Some(vote),
            committed: last,
            purged: last,
            last,
        };
        assert_eq!(log.shard(ShardId(1)).state(), state);
        assert_eq!(log.shard(ShardId(2)).live(), 96..100);
    });
}

#[test]
fn a_holdout_is_told_with_its_last_entry_in_the_oldest_segment() {
    Node::start(FaultDisk::new()).with(async |log| {
        let (first, second) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
        append(&second, entries(1, 0..1, 100)).await.unwrap();
        let mut next = 0;
        while log.usage().segments < 3 {
            append(&first, entries(1, next..next + 1, 900))
                .await
                .unwrap();
            next += 1;
        }
        let holdouts = log.oldest_segment_holdouts();
        let [(ShardId(1), index), (ShardId(2), 0)] = holdouts[..] else {
            panic!("{holdouts:?}")
        };
        first.purge(id(1, index)).await.unwrap();
        second.purge(id(1, 0)).await.unwrap();
        second.save_vote(Vote::default()).await.unwrap();
        assert_eq!(log.usage().segments, 2);
    });
}

#[test]
fn an_append_larger_than_a_segment_gets_a_larger_file() {
    let mut node = Node::start(FaultDisk::new());
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..2, 100)).await.unwrap();
        append(&shard, entries(1, 2..4, 1 << 20)).await.unwrap();
        append(&shard, entries(1, 4..6, 100)).await.unwrap();
        assert!(log.usage().disk_bytes > 2 << 20);
    });
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        assert_eq!(
            shard.read(2..4, usize::MAX).unwrap(),
            entries(1, 2..4, 1 << 20)
        );
        shard.purge(id(1, 5)).await.unwrap();
        shard.save_vote(Vote::default()).await.unwrap();
        // It is not of the usual size, so it is not kept.
        assert!(log.usage().disk_bytes < 1 << 20, "{:?}", log.usage());
    });
}

#[test]
fn a_file_that_is_being_read_is_not_reused_under_the_reader() {
    let uncached = LogOptions {
        cache_bytes_max: 0,
        ..options()
    };
    let disk = tempfile::tempdir().unwrap();
    let disk =
        Arc::new(highwater_storage::disk::real::RealDisk::new(disk.path().to_path_buf()).unwrap());
    let (log, writer) = Log::open(disk, uncached).unwrap();
    let thread = std::thread::spawn(move || writer.run_blocking());
    let shard = log.shard(ShardId(1));
    let reader = {
        let shard = shard.clone();
        std::thread::spawn(move || {
            let mut read = 0;
            while shard.state().last.is_none_or(|last| last.index < 1_999) {
                let live = shard.live();
                for entry in shard.read(live, 20_000).unwrap() {
                    assert_eq!(
                        vec![entry.clone()],
                        entries(1, entry.id.index..entry.id.index + 1, 400)
                    );
                    read += 1;
                }
            }
            read
        })
    };
    log::block_on(async {
        for start in 0..2_000 {
            append(&shard, entries(1, start..start + 1, 400))
                .await
                .unwrap();
            if start % 7 == 6 {
                shard.purge(id(1, start - 3)).await.unwrap();
            }
        }
    });
    assert!(reader.join().unwrap() > 0);
    drop((log, shard));
    thread.join().unwrap();
}

#[test]
fn a_thousand_idle_shards_cost_no_writes() {
    let mut node = Node::start_with(
        FaultDisk::new(),
        LogOptions {
            segment_bytes: 1 << 20,
            ..options()
        },
    );
    node.with(async |log| {
        let shards: Vec<_> = (0..1_024).map(|shard| log.shard(ShardId(shard))).collect();
        let votes = shards.iter().map(|shard| shard.save_vote(Vote::default()));
        for vote in votes {
            vote.await.unwrap();
        }
        let before = log.usage();
        for shard in &shards {
            shard.set_committed(id(0, 0));
        }
        assert_eq!(log.usage(), before);
    });
    node.with(async |log| assert_eq!(log.shards().len(), 1_024));
}
