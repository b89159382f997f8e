//! Measures the topic store: what a checkpoint costs, how fast topics are replayed, how soon deleted
//! data gives its room back.
//!
//! ```text
//! cargo run --release -p highwater-storage --example store_bench [folder]
//! ```
//!
//! Bytes written are those of the process as the kernel counts them, so they are what reached the
//! file system's files, compaction included.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use highwater_broker::handle::PageLimits;
use highwater_proto::{
    cluster::{self, command::Command},
    ids::{ProjectId, ShardId},
    limits::{CHECKPOINT_BYTES, PAGE_BYTES_MAX, PAGE_RECORDS_MAX},
    names::{TopicFilter, TopicName},
};
use highwater_storage::{
    ShardStore, Store,
    kv::{Kv, rocks::RocksKv},
    log::LogId,
};

const PROJECT: ProjectId = ProjectId::from_bytes([1; 16]);
const PAGE: PageLimits = PageLimits {
    records: PAGE_RECORDS_MAX,
    bytes: PAGE_BYTES_MAX,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("highwater-store-bench"));
    if std::env::args().nth(2).is_some_and(|what| what == "load") {
        return load_topics(&folder);
    }
    for (bytes, total) in [(1_024, 512 << 20), (128, 192 << 20)] {
        apply(&folder, bytes, total)?;
    }
    replay_interleaved(&folder)?;
    replay_interleaved_from_log(&folder)?;
    replay_single(&folder)?;
    delete_half(&folder)?;
    idle_topics(&folder)?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A store of its own, filled batch by batch and checkpointed as a node would.
struct Filled {
    kv: Arc<RocksKv>,
    store: Store,
    shard: Arc<ShardStore>,
    index: u64,
    random: u64,
}

impl Filled {
    fn new(folder: &Path) -> Outcome<Filled> {
        let _ = fs::remove_dir_all(folder);
        Filled::open(folder)
    }

    fn open(folder: &Path) -> Outcome<Filled> {
        let kv = Arc::new(RocksKv::open(folder, 64 << 20)?);
        let store = Store::open(kv.clone())?;
        let shard = store.shard(ShardId(0))?;
        let index = shard.applied().map_or(0, |id| id.index);
        let random = 0x9e37_79b9_7f4a_7c15;
        Ok(Filled {
            kv,
            store,
            shard,
            index,
            random,
        })
    }

    /// Bytes that do not compress.
    fn message(&mut self, bytes: usize) -> Bytes {
        let mut message = Vec::with_capacity(bytes + 8);
        while message.len() < bytes {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            message.extend_from_slice(&self.random.to_le_bytes());
        }
        message.truncate(bytes);
        message.into()
    }

    fn batch(&mut self, runs: Vec<(String, usize)>, bytes: usize) -> Command {
        let mut wire = Vec::with_capacity(runs.len());
        for (topic, records) in runs {
            let publish = |message| cluster::Publish {
                message,
                ..cluster::Publish::default()
            };
            wire.push(cluster::TopicRun {
                project: Bytes::copy_from_slice(PROJECT.as_bytes()),
                topic,
                publishes: (0..records).map(|_| publish(self.message(bytes))).collect(),
                policy: None,
            });
        }
        Command::Publish(cluster::PublishBatch {
            time_ms: 1_700_000_000_000 + self.index,
            runs: wire,
        })
    }

    fn apply(&mut self, command: Command) -> Outcome<()> {
        self.index += 1;
        let id = LogId {
            term: 1,
            node: 1,
            index: self.index,
        };
        let command = cluster::Command {
            command: Some(command),
        };
        self.shard.apply(id, command)?;
        if self.shard.pending_bytes() >= CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Outcome<()> {
        self.store.checkpoint(std::slice::from_ref(&self.shard))?;
        Ok(())
    }

    /// Reads a topic from beginning to end.
    fn replay(&self, topic: &str) -> Outcome<u64> {
        let topic = TopicName::try_from(topic)?;
        let (mut offset, mut records) = (0, 0);
        loop {
            let page = self.shard.read_topic(PROJECT, &topic, None, offset, PAGE)?;
            records += page.slices.iter().map(|s| s.count() as u64).sum::<u64>();
            offset = page.next_offset;
            if page.through.is_some() {
                return Ok(records);
            }
        }
    }
}

/// Applies records to 1,000 topics, 256 records to a batch.
fn apply(folder: &Path, bytes: usize, total: usize) -> Outcome<()> {
    let mut filled = Filled::new(folder)?;
    let records = total / bytes;
    let mut commands = Vec::with_capacity(records / 256);
    for batch in 0..records / 256 {
        let topic = |i: usize| format!("topic/{:04}", (batch * 32 + i) % 1_000);
        let runs = (0..32).map(|i| (topic(i), 8)).collect();
        commands.push(filled.batch(runs, bytes));
    }
    let (written, started) = (bytes_written()?, Instant::now());
    let mut applying = Duration::ZERO;
    for command in commands {
        let before = (Instant::now(), filled.store.usage().checkpoints_total);
        filled.apply(command)?;
        if filled.store.usage().checkpoints_total == before.1 {
            applying += before.0.elapsed();
        }
    }
    filled.checkpoint()?;
    let took = started.elapsed();
    settle(&filled.kv);
    let flushed = filled.store.usage().checkpoint_bytes_total;
    let written = bytes_written()? - written;
    println!(
        "apply and checkpoint, {bytes:>5} B: {:>9.0} records/s, {:>5.0} MB/s; apply alone {:>9.0} records/s; \
         {:.3} bytes put and {:.2} bytes written per payload byte, compaction included",
        rate(records as u64, took),
        total as f64 / took.as_secs_f64() / 1e6,
        rate(records as u64, applying),
        flushed as f64 / total as f64,
        written as f64 / total as f64,
    );
    Ok(())
}

/// Reads one topic of 10,000 that were written in turns.
fn replay_interleaved(folder: &Path) -> Outcome<()> {
    const TOPICS: usize = 10_000;
    let mut filled = Filled::new(folder)?;
    for round in 0..400 {
        for part in 0..10 {
            let topic = |i: usize| format!("topic/{:05}", part * 1_000 + i);
            let records = if round % 10 == 0 { 2 } else { 1 };
            let runs = (0..TOPICS / 10).map(|i| (topic(i), records)).collect();
            let command = filled.batch(runs, 128);
            filled.apply(command)?;
        }
    }
    filled.checkpoint()?;
    drop(filled);
    let filled = Filled::open(folder)?;
    for name in ["first look at each", "again"] {
        let (started, mut records) = (Instant::now(), 0);
        for topic in (0..TOPICS).step_by(50) {
            records += filled.replay(&format!("topic/{topic:05}"))?;
        }
        let took = started.elapsed();
        println!(
            "replay of single topics among {TOPICS}, 128 B, {name}: {:.0} records/s",
            rate(records, took)
        );
    }
    let filters = [TopicFilter::try_from("#")?];
    let (started, mut records, mut position) = (Instant::now(), 0, 0);
    while records < 1_000_000 {
        let shard = &filled.shard;
        let page = shard.read_feed(PROJECT, &filters, position, PAGE)?;
        records += page.slices.iter().map(|s| s.count() as u64).sum::<u64>();
        position = page.next_position;
        if page.at_end {
            break;
        }
    }
    println!(
        "replay of the feed of {TOPICS} topics, 128 B: {:.0} records/s",
        rate(records, started.elapsed())
    );
    Ok(())
}

/// The same from the other layout of the design, the log as the message store: records lie where they were
/// appended, and an index that costs nothing here says where. What is left is to read each from the
/// page cache and to check it; then the same from the disk.
fn replay_interleaved_from_log(folder: &Path) -> Outcome<()> {
    const TOPICS: u64 = 10_000;
    const RECORDS: u64 = 440;
    const RECORD_BYTES: usize = 128 + 24;
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let file = fs::File::create_new(folder.join("log"))?;
    let mut record = [7; RECORD_BYTES];
    let sum = crc32c::crc32c(&record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
    let round = record.repeat(TOPICS as usize);
    for number in 0..RECORDS {
        file.write_all_at(&round, number * round.len() as u64)?;
    }
    file.sync_data()?;
    drop(file);
    let file = fs::File::open(folder.join("log"))?;
    for from in ["the page cache", "the disk"] {
        if from == "the disk" {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
            // Reading ahead reads other topics.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
        }
        let (started, mut records) = (Instant::now(), 0);
        for topic in (0..TOPICS).step_by(50) {
            for number in 0..RECORDS {
                let at = (number * TOPICS + topic) * RECORD_BYTES as u64;
                file.read_exact_at(&mut record, at)?;
                let sum = crc32c::crc32c(&record[4..]);
                if record[..4] != sum.to_le_bytes() {
                    return Err("a record is damaged".into());
                }
                records += 1;
            }
        }
        println!(
            "replay of single topics among {TOPICS}, 128 B, from a log as the store, from {from}: {:.0} records/s",
            rate(records, started.elapsed())
        );
    }
    Ok(())
}

/// Reads a topic that was written alone.
fn replay_single(folder: &Path) -> Outcome<()> {
    for bytes in [128, 1_024] {
        let mut filled = Filled::new(folder)?;
        for _ in 0..(256 << 20) / bytes / 256 {
            let command = filled.batch(vec![("topic".to_owned(), 256)], bytes);
            filled.apply(command)?;
        }
        filled.checkpoint()?;
        drop(filled);
        let filled = Filled::open(folder)?;
        let started = Instant::now();
        let records = filled.replay("topic")?;
        println!(
            "replay of a single topic, {bytes:>5} B: {:.0} records/s",
            rate(records, started.elapsed())
        );
    }
    Ok(())
}

/// Deletes one of two topics that hold 600 MB together.
fn delete_half(folder: &Path) -> Outcome<()> {
    let mut filled = Filled::new(folder)?;
    for _ in 0..(300 << 20) / (1_024 * 256) {
        let runs = vec![("keep".to_owned(), 256), ("drop".to_owned(), 256)];
        let command = filled.batch(runs, 1_024);
        filled.apply(command)?;
    }
    filled.checkpoint()?;
    settle(&filled.kv);
    let before = filled.kv.usage().disk_bytes;
    let started = Instant::now();
    filled.apply(Command::DeleteTopic(cluster::DeleteTopic {
        project: Bytes::copy_from_slice(PROJECT.as_bytes()),
        topic: "drop".to_owned(),
        ..Default::default()
    }))?;
    filled.checkpoint()?;
    let deleted = started.elapsed();
    let between = filled.kv.usage().disk_bytes;
    let (written, started) = (bytes_written()?, Instant::now());
    filled.store.compact_erased()?;
    println!(
        "delete half of {:.0} MB: {deleted:?} to {:.0} MB; erased for good in {:?} to {:.0} MB, {:.0} MB written",
        before as f64 / 1e6,
        between as f64 / 1e6,
        started.elapsed(),
        filled.kv.usage().disk_bytes as f64 / 1e6,
        (bytes_written()? - written) as f64 / 1e6,
    );
    Ok(())
}

const IDLE_TOPICS: usize = 100_000;

/// Makes a shard of many idle topics, and loads it in a process that has held nothing else.
fn idle_topics(folder: &Path) -> Outcome<()> {
    let mut filled = Filled::new(folder)?;
    for part in 0..100 {
        let topic = |i: usize| format!("devices/{:06}/state", part * IDLE_TOPICS / 100 + i);
        let runs = (0..IDLE_TOPICS / 100).map(|i| (topic(i), 1)).collect();
        let command = filled.batch(runs, 128);
        filled.apply(command)?;
    }
    filled.checkpoint()?;
    drop(filled);
    let mut load = std::process::Command::new(std::env::current_exe()?);
    load.arg(folder).arg("load").status()?;
    Ok(())
}

fn load_topics(folder: &Path) -> Outcome<()> {
    let store = Store::open(Arc::new(RocksKv::open(folder, 64 << 20)?))?;
    let (memory, started) = (resident_bytes()?, Instant::now());
    let shard = store.shard(ShardId(0))?;
    let (took, cached) = (started.elapsed(), store.usage().kv.cache_bytes);
    println!(
        "load of {} topics: {took:?}, {} bytes of memory each and {} of cached blocks",
        shard.topic_count(),
        (resident_bytes()? - memory).saturating_sub(cached) / IDLE_TOPICS as u64,
        cached / IDLE_TOPICS as u64,
    );
    Ok(())
}

/// Memory of this process.
fn resident_bytes() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS in /proc/self/status")?.parse::<u64>()? << 10)
}

/// Waits until compaction has nothing to do, as it has most of the time.
fn settle(kv: &RocksKv) {
    let mut before = 0;
    while before != kv.usage().disk_bytes {
        before = kv.usage().disk_bytes;
        std::thread::sleep(Duration::from_secs(3));
    }
}

fn rate(records: u64, took: Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

/// Bytes this process had written to files, from the kernel's account of it.
fn bytes_written() -> Outcome<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}
