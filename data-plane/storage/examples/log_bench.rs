//! Measures the log on a real disk: batched appends a second, and how long a single durable append takes.
//!
//! `cargo run --release -p highwater-storage --example log_bench [folder]`; without a folder, in the current one.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use highwater_proto::ids::ShardId;
use highwater_storage::{
    disk::real::RealDisk,
    log::{Entry, Log, LogId, LogOptions, LogUsage, ShardLog},
};
use tokio::sync::oneshot;

/// Each shard keeps this many appends on their way.
const IN_FLIGHT: usize = 8;
/// Entries of one append: what a proposal of a busy shard carries.
const APPEND_ENTRIES: u64 = 64;
const SHARDS: u32 = 16;
const SINGLE_APPENDS: u64 = 5_000;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    for payload_bytes in [128, 1_024] {
        // Long enough to go round the spare files: fresh files are slower.
        let entries = (2u64 << 30) / (payload_bytes as u64 + 900);
        batched(Path::new(&folder), payload_bytes, entries);
    }
    for payload_bytes in [128, 1_024] {
        single(Path::new(&folder), payload_bytes);
    }
}

fn batched(folder: &Path, payload_bytes: usize, entries: u64) {
    with_log(folder, |log, runtime| {
        let (before, start) = (log.usage(), Instant::now());
        let each = entries / u64::from(SHARDS) / APPEND_ENTRIES;
        let payload = Bytes::from(vec![7; payload_bytes]);
        let tasks: Vec<_> = (0..SHARDS)
            .map(|shard| runtime.spawn(fill(log.shard(ShardId(shard)), payload.clone(), each)))
            .collect();
        for task in tasks {
            runtime
                .block_on(task)
                .expect("a shard that is being filled does not fail");
        }
        let (took, usage) = (start.elapsed(), log.usage());
        let count = usage.entries - before.entries;
        println!(
            "batched {payload_bytes:>5} B: {:>9.0} entries/s, {:>4.0} MB/s of payload, {:.2} bytes written a byte, {:.0} entries a sync ({SHARDS} shards)",
            count as f64 / took.as_secs_f64(),
            (usage.payload_bytes - before.payload_bytes) as f64 / 1e6 / took.as_secs_f64(),
            written_per_byte(&before, &usage),
            count as f64 / (usage.syncs - before.syncs) as f64,
        );
    });
}

fn written_per_byte(before: &LogUsage, after: &LogUsage) -> f64 {
    (after.written_bytes - before.written_bytes) as f64
        / (after.payload_bytes - before.payload_bytes) as f64
}

async fn fill(shard: ShardLog, payload: Bytes, appends: u64) {
    let mut waiting = std::collections::VecDeque::new();
    for append in 0..appends {
        if waiting.len() == IN_FLIGHT {
            finish(&shard, waiting.pop_front().expect("it is full")).await;
        }
        let indexes = append * APPEND_ENTRIES..(append + 1) * APPEND_ENTRIES;
        waiting.push_back(start(&shard, indexes, &payload).await);
    }
    for append in waiting {
        finish(&shard, append).await;
    }
}

type Append = (u64, oneshot::Receiver<()>);

async fn start(shard: &ShardLog, indexes: std::ops::Range<u64>, payload: &Bytes) -> Append {
    let last = indexes.end - 1;
    let id = |index| LogId {
        term: 1,
        node: 1,
        index,
    };
    let entries = indexes
        .map(|index| Entry {
            id: id(index),
            payload: payload.clone(),
        })
        .collect();
    let (done, durable) = oneshot::channel();
    let on_durable = Box::new(move |result: std::io::Result<()>| {
        result.expect("the disk is well");
        done.send(()).expect("every append is waited for");
    });
    shard
        .append(entries, on_durable)
        .await
        .expect("the disk is well");
    (last, durable)
}

/// Waits, and now and then purges, so that files go round.
async fn finish(shard: &ShardLog, (last, durable): Append) {
    durable.await.expect("every append is answered");
    if last % (64 * APPEND_ENTRIES) == 64 * APPEND_ENTRIES - 1 {
        shard
            .purge(LogId {
                term: 1,
                node: 1,
                index: last,
            })
            .await
            .expect("the disk is well");
    }
}

fn single(folder: &Path, payload_bytes: usize) {
    with_log(folder, |log, runtime| {
        let shard = log.shard(ShardId(1));
        let payload = Bytes::from(vec![7; payload_bytes]);
        let mut took: Vec<Duration> = runtime.block_on(async {
            let mut took = Vec::new();
            for index in 0..SINGLE_APPENDS {
                let begun = Instant::now();
                let (_, durable) = start(&shard, index..index + 1, &payload).await;
                durable.await.expect("every append is answered");
                took.push(begun.elapsed());
            }
            took
        });
        took.sort_unstable();
        let at = |part: f64| took[(took.len() as f64 * part) as usize];
        println!(
            "single  {payload_bytes:>5} B: p50 {:?}, p99 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            took[took.len() - 1]
        );
    });
}

fn with_log(folder: &Path, measure: impl FnOnce(&Log, &tokio::runtime::Runtime)) {
    let dir = tempfile::tempdir_in(folder).expect("a folder to write in");
    let disk = RealDisk::new(dir.path().to_path_buf()).expect("a folder to write in");
    let (log, writer) =
        Log::open(Arc::new(disk), LogOptions::default()).expect("an empty folder opens");
    let thread = std::thread::spawn(move || writer.run_blocking());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads to start");
    measure(&log, &runtime);
    drop((log, runtime));
    thread.join().expect("the writer ends with its log");
}
