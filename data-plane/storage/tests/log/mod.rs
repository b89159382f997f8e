//! A node's log on a faulty disk, driven on one thread so that a test is repeatable.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod model;

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use highwater_storage::{
    disk::fault::FaultDisk,
    log::{Entry, Log, LogError, LogId, LogOptions, ShardLog},
};
use tokio::sync::oneshot;

/// Small files, and the same salts every time.
pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        salt_seed: 42,
        ..LogOptions::default()
    }
}

pub fn id(term: u64, index: u64) -> LogId {
    LogId {
        term,
        node: 1,
        index,
    }
}

/// An entry whose payload follows from its id and length.
pub fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let payload: Vec<u8> = (0..bytes)
        .map(|at| (term as usize * 31 + index as usize * 7 + at) as u8)
        .collect();
    Entry {
        id: id(term, index),
        payload: Bytes::from(payload),
    }
}

pub fn entries(term: u64, indexes: Range<u64>, bytes: usize) -> Vec<Entry> {
    indexes.map(|index| entry(term, index, bytes)).collect()
}

/// Appends and waits until it is durable.
pub async fn append(shard: &ShardLog, entries: Vec<Entry>) -> io::Result<()> {
    let (done, durable) = oneshot::channel();
    shard
        .append(entries, Box::new(move |result| drop(done.send(result))))
        .await?;
    durable.await.expect("every append is answered")
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// A node that is started, used and stopped cleanly, over and over, on the same disk.
pub struct Node {
    pub disk: FaultDisk,
    pub options: LogOptions,
}

impl Node {
    pub fn start(disk: FaultDisk) -> Node {
        Node::start_with(disk, options())
    }

    pub fn start_with(disk: FaultDisk, options: LogOptions) -> Node {
        Node { disk, options }
    }

    pub fn restart(&mut self) -> &mut Node {
        self
    }

    /// Opens the log, runs `use_it` beside the writer, and stops both.
    pub fn with<T>(&mut self, use_it: impl AsyncFnOnce(Log) -> T) -> T {
        self.try_with(use_it).unwrap()
    }

    /// The same with the error of opening it.
    pub fn try_with<T>(&mut self, use_it: impl AsyncFnOnce(Log) -> T) -> Result<T, LogError> {
        let (log, writer) = Log::open(Arc::new(self.disk.clone()), self.options.clone())?;
        Ok(block_on(async {
            tokio::join!(use_it(log), writer.run()).0
        }))
    }
}
