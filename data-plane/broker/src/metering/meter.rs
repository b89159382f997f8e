//! What a node counts of a project.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use highwater_proto::ids::KeyId;
use parking_lot::Mutex;

use super::{PROTOCOLS, Protocol, Traffic, Traffics, place};
use crate::quota::Usage;

/// The counters of a project on one node, since it was started.
#[derive(Debug, Default)]
pub struct Meter {
    protocols: [Counters; PROTOCOLS.len()],
    /// The most connections at once, since that was last asked.
    open_max: AtomicU64,
    /// Keys that were used, and when, since that was last asked.
    keys: Mutex<Vec<(KeyId, u64)>>,
}

#[derive(Debug, Default)]
struct Counters {
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
    open: AtomicI64,
    /// Times at which connections were closed, less those at which connections were opened: with the time now
    /// for each that is open, how long they all were, in milliseconds.
    open_ms: AtomicI64,
}

impl Meter {
    /// Records were delivered.
    pub fn delivered(&self, protocol: Protocol, records: u64, bytes: u64) {
        if let Some(counters) = place(protocol).map(|at| &self.protocols[at]) {
            counters.messages_out.fetch_add(records, Ordering::Relaxed);
            counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A key was used, at a time in milliseconds since the Unix epoch.
    pub fn key_used(&self, key: KeyId, now_ms: u64) {
        self.keys.lock().push((key, now_ms));
    }

    /// Keys that were used, and when, since this was last asked.
    pub fn take_keys(&self) -> Vec<(KeyId, u64)> {
        std::mem::take(&mut self.keys.lock())
    }

    /// Whether any key was.
    pub fn has_keys(&self) -> bool {
        !self.keys.lock().is_empty()
    }

    /// What was counted so far, at a time in milliseconds since the Unix epoch.
    pub fn read(&self, now_ms: u64) -> Traffics {
        let read = |counters: &Counters| {
            let open = counters.open.load(Ordering::Relaxed);
            let until_now = open.saturating_mul(now_ms as i64);
            let open_ms = counters
                .open_ms
                .load(Ordering::Relaxed)
                .saturating_add(until_now);
            Traffic {
                messages_out: counters.messages_out.load(Ordering::Relaxed),
                bytes_out: counters.bytes_out.load(Ordering::Relaxed),
                connection_ms: open_ms.max(0) as u64,
                ..Traffic::default()
            }
        };
        std::array::from_fn(|at| read(&self.protocols[at]))
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        let open = self
            .protocols
            .iter()
            .map(|c| c.open.load(Ordering::Relaxed));
        open.sum::<i64>().max(0) as u64
    }

    /// The most connections at once since this was last asked.
    pub fn take_open_max(&self) -> u64 {
        let open = self.open();
        self.open_max.swap(open, Ordering::Relaxed).max(open)
    }

    fn opened(&self, protocol: Protocol, now_ms: u64) {
        if let Some(counters) = place(protocol).map(|at| &self.protocols[at]) {
            counters.open.fetch_add(1, Ordering::Relaxed);
            counters.open_ms.fetch_sub(now_ms as i64, Ordering::Relaxed);
            self.open_max.fetch_max(self.open(), Ordering::Relaxed);
        }
    }

    fn closed(&self, protocol: Protocol, now_ms: u64) {
        if let Some(counters) = place(protocol).map(|at| &self.protocols[at]) {
            counters.open_ms.fetch_add(now_ms as i64, Ordering::Relaxed);
            counters.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A connection that is open, until it is dropped.
pub struct Online {
    usage: Arc<Usage>,
    protocol: Protocol,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Online {
    /// Of a project, over a protocol, by a clock in milliseconds since the Unix epoch.
    pub fn new(
        usage: Arc<Usage>,
        protocol: Protocol,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Online {
        usage.meter().opened(protocol, clock());
        Online {
            usage,
            protocol,
            clock,
        }
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        self.usage.meter().closed(self.protocol, (self.clock)());
    }
}
