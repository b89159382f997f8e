//! The log as a Raft core uses it: what is written is read back, from memory and from disk, before and after a restart.

mod log;

use std::{io, sync::Arc};

use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::{fault::FaultDisk, real::RealDisk},
    log::{Entry, Log, LogId, LogOptions, ShardLog, ShardState, Vote},
};
use log::{Node, append, block_on, entries, entry, id, options};

#[test]
fn what_was_written_is_there_after_a_clean_stop_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let vote = Vote {
        term: 3,
        node: 2,
        committed: true,
    };
    {
        let disk = Arc::new(RealDisk::new(dir.path().to_path_buf()).unwrap());
        let (log, writer) = Log::open(disk, options()).unwrap();
        let thread = std::thread::spawn(move || writer.run_blocking());
        block_on(async {
            let (first, second) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
            append(&first, entries(3, 0..20, 100)).await.unwrap();
            append(&second, entries(1, 0..5, 3_000)).await.unwrap();
            first.save_vote(vote).await.unwrap();
            first.set_committed(id(3, 12));
            first.truncate_after(Some(14)).await.unwrap();
            first.purge(id(3, 4)).await.unwrap();
        });
        drop(log);
        thread.join().unwrap();
    }
    let disk = Arc::new(RealDisk::new(dir.path().to_path_buf()).unwrap());
    let (log, _writer) = Log::open(disk, options()).unwrap();
    let (first, second) = (log.shard(ShardId(1)), log.shard(ShardId(2)));
    let state = ShardState {
        vote: Some(vote),
        committed: Some(id(3, 12)),
        purged: Some(id(3, 4)),
        last: Some(id(3, 14)),
    };
    assert_eq!(first.state(), state);
    assert_eq!(
        first.read(0..100, usize::MAX).unwrap(),
        entries(3, 5..15, 100)
    );
    assert_eq!(
        second.read(1..3, usize::MAX).unwrap(),
        entries(1, 1..3, 3_000)
    );
    assert_eq!(log.shards(), [ShardId(1), ShardId(2)]);
}

#[test]
fn entries_are_readable_before_they_are_durable() {
    let disk = FaultDisk::new();
    let (log, writer) = Log::open(Arc::new(disk), options()).unwrap();
    let shard = log.shard(ShardId(1));
    let (durable, mut told) = tokio::sync::oneshot::channel();
    block_on(async {
        let on_durable = Box::new(move |result: io::Result<()>| durable.send(result).unwrap());
        shard
            .append(entries(1, 0..3, 10), on_durable)
            .await
            .unwrap();
        assert_eq!(shard.read(1..3, usize::MAX).unwrap(), entries(1, 1..3, 10));
        assert_eq!(shard.state().last, Some(id(1, 2)));
        assert!(told.try_recv().is_err());
        drop((log, shard));
        writer.run().await;
        told.await.unwrap().unwrap();
    });
}

#[test]
fn a_read_is_bounded_in_bytes_but_gives_at_least_one_entry() {
    Node::start(FaultDisk::new()).with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..10, 100)).await.unwrap();
        assert_eq!(shard.read(2..10, 1).unwrap(), entries(1, 2..3, 100));
        assert_eq!(shard.read(2..10, 350).unwrap(), entries(1, 2..5, 100));
        assert_eq!(
            shard.read(8..1_000, 10_000).unwrap(),
            entries(1, 8..10, 100)
        );
        assert_eq!(shard.read(10..20, 10_000).unwrap(), []);
    });
}

#[test]
fn the_cache_is_bounded_and_what_left_it_is_read_from_disk() {
    let mut node = Node::start_with(
        FaultDisk::new(),
        LogOptions {
            cache_bytes_max: 20_000,
            segment_bytes: 64 << 10,
            ..options()
        },
    );
    node.with(async |log| {
        let shards: Vec<ShardLog> = (0..5).map(|shard| log.shard(ShardId(shard))).collect();
        for start in (0..200).step_by(4) {
            for shard in &shards {
                append(shard, entries(1, start..start + 4, 100))
                    .await
                    .unwrap();
            }
        }
        assert!(log.usage().cache_bytes <= 20_000, "{:?}", log.usage());
        assert!(log.usage().segments > 1);
        assert_eq!(shards[0].read_cached(0..200, usize::MAX), None);
        assert_eq!(
            shards[0].read_cached(195..200, 300),
            Some(entries(1, 195..198, 100))
        );
        for shard in &shards {
            assert_eq!(
                shard.read(0..200, usize::MAX).unwrap(),
                entries(1, 0..200, 100)
            );
            assert_eq!(
                shard.read(190..200, 550).unwrap(),
                entries(1, 190..195, 100)
            );
        }
    });
}

#[test]
fn un_durable_entries_never_leave_memory() {
    let small = LogOptions {
        cache_bytes_max: 0,
        ..options()
    };
    let (log, writer) = Log::open(Arc::new(FaultDisk::new()), small).unwrap();
    let shard = log.shard(ShardId(1));
    block_on(async {
        for start in [0, 10, 20] {
            shard
                .append(entries(1, start..start + 10, 500), Box::new(|_| {}))
                .await
                .unwrap();
        }
        assert_eq!(
            shard.read(0..30, usize::MAX).unwrap(),
            entries(1, 0..30, 500)
        );
        drop(log);
        let reader = shard.clone();
        tokio::join!(writer.run(), async move {
            // The vote is behind the appends, so they are durable and gone from memory.
            shard.save_vote(Vote::default()).await.unwrap();
            assert_eq!(
                reader.read(0..30, usize::MAX).unwrap(),
                entries(1, 0..30, 500)
            );
        });
    });
}

#[test]
fn appends_wait_while_too_many_bytes_are_not_durable() {
    let narrow = LogOptions {
        waiting_bytes_max: 4_096,
        ..options()
    };
    let (log, writer) = Log::open(Arc::new(FaultDisk::new()), narrow).unwrap();
    let shard = log.shard(ShardId(1));
    block_on(async {
        shard
            .append(entries(1, 0..3, 1_000), Box::new(|_| {}))
            .await
            .unwrap();
        let waiting = shard.clone();
        let mut waits = Box::pin(async move {
            waiting
                .append(entries(1, 3..5, 1_000), Box::new(|_| {}))
                .await
        });
        assert!(poll_once(waits.as_mut()).await.is_none());
        drop(log);
        tokio::join!(writer.run(), async move {
            waits.await.unwrap();
            assert_eq!(shard.state().last, Some(id(1, 4)));
            drop(shard);
        });
    });
}

async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = future;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn a_truncated_end_is_replaced_and_stays_replaced() {
    let mut node = Node::start(FaultDisk::new());
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..10, 50)).await.unwrap();
        shard.truncate_after(Some(5)).await.unwrap();
        assert_eq!(shard.state().last, Some(id(1, 5)));
        append(&shard, entries(2, 6..8, 60)).await.unwrap();
    });
    node.restart().with(async |log| {
        let shard = log.shard(ShardId(1));
        let mut expected = entries(1, 0..6, 50);
        expected.extend(entries(2, 6..8, 60));
        assert_eq!(shard.read(0..10, usize::MAX).unwrap(), expected);
        shard.truncate_after(None).await.unwrap();
        assert_eq!(shard.state(), ShardState::default());
        append(&shard, entries(3, 0..1, 10)).await.unwrap();
        assert_eq!(shard.read(0..10, usize::MAX).unwrap(), entries(3, 0..1, 10));
    });
}

#[test]
fn a_purge_beyond_the_end_makes_the_log_go_on_behind_it() {
    let mut node = Node::start(FaultDisk::new());
    node.with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..10, 50)).await.unwrap();
        shard.purge(id(4, 99)).await.unwrap();
        assert_eq!(shard.state().last, Some(id(4, 99)));
        append(&shard, vec![entry(4, 100, 7)]).await.unwrap();
    });
    node.restart().with(async |log| {
        let shard = log.shard(ShardId(1));
        assert_eq!(shard.live(), 100..101);
        assert_eq!(shard.read(0..200, usize::MAX).unwrap(), [entry(4, 100, 7)]);
        assert_eq!(shard.state().purged, Some(id(4, 99)));
    });
}

#[test]
fn one_sync_serves_all_that_waits() {
    let wide = LogOptions {
        segment_bytes: 64 << 10,
        ..options()
    };
    let (log, writer) = Log::open(Arc::new(FaultDisk::new()), wide).unwrap();
    block_on(async {
        for shard in 0..10 {
            let shard = log.shard(ShardId(shard));
            shard
                .append(entries(1, 0..10, 100), Box::new(|_| {}))
                .await
                .unwrap();
        }
        let before = log.usage();
        let vote = async move {
            log.shard(ShardId(99))
                .save_vote(Vote::default())
                .await
                .unwrap();
            let usage = log.usage();
            assert_eq!(usage.syncs - before.syncs, 1);
            assert_eq!((usage.batches, usage.entries, usage.changes), (1, 100, 11));
            assert_eq!(usage.batch_sizes[3], 1);
        };
        tokio::join!(vote, writer.run());
    });
}

#[test]
#[should_panic(expected = "grows by one")]
fn an_append_that_leaves_a_hole_is_a_bug_and_ends_the_caller() {
    Node::start(FaultDisk::new()).with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, vec![entry(1, 0, 1), entry(1, 2, 1)])
            .await
            .unwrap();
    });
}

#[test]
#[should_panic(expected = "removes what is committed")]
fn a_truncation_of_committed_entries_is_a_bug_and_ends_the_caller() {
    Node::start(FaultDisk::new()).with(async |log| {
        let shard = log.shard(ShardId(1));
        append(&shard, entries(1, 0..5, 1)).await.unwrap();
        shard.set_committed(id(1, 3));
        shard.truncate_after(Some(2)).await.unwrap();
    });
}

#[test]
fn a_log_may_begin_anywhere_once() {
    Node::start(FaultDisk::new()).with(async |log| {
        let shard = log.shard(ShardId(1));
        append(
            &shard,
            vec![Entry {
                id: LogId {
                    term: 1,
                    node: 1,
                    index: 7,
                },
                payload: "x".into(),
            }],
        )
        .await
        .unwrap();
        assert_eq!(shard.live(), 7..8);
    });
}
