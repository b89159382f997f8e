//! After the sync, or instead of it: memory learns what is durable, and callers are told in order.

use std::{io, sync::atomic::Ordering};

use super::{Change, Command, Counters, LogWriter};
use crate::log::options::ROOM_UNIT_BYTES;

impl LogWriter {
    /// The batch is durable.
    pub(super) fn publish(&mut self) {
        let segment = self.files.current().identity.segment;
        let mut spots = &self.spots[..];
        let mut frees = false;
        for Command { memory, change, .. } in self.drained.drain(..) {
            match change {
                Change::Append {
                    entries,
                    on_durable,
                    room,
                } => {
                    let (own, rest) = spots.split_at(entries.len());
                    spots = rest;
                    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                        memory.front().on_written(first.id.index, segment, own);
                        self.cache.push(&memory, last.id.index);
                        let counters = &self.shared.counters;
                        Counters::add(&counters.entries, entries.len());
                        Counters::add(
                            &counters.payload_bytes,
                            entries.iter().map(|entry| entry.payload.len()).sum(),
                        );
                    }
                    drop(room);
                    on_durable(Ok(()));
                }
                // Who gave up waiting is not told.
                Change::Vote { on_durable, .. } => drop(on_durable.send(Ok(()))),
                Change::Truncate { on_durable, .. } => {
                    memory.front().on_truncated();
                    frees = true;
                    drop(on_durable.send(Ok(())));
                }
                Change::Purge { id } => {
                    memory.front().on_purged(id);
                    frees = true;
                }
                Change::Seal { on_durable } => {
                    frees = true;
                    drop(on_durable.send(Ok(segment)));
                }
            }
        }
        self.trim_cache();
        if frees && let Err((doing, error)) = self.reclaim() {
            self.fail(doing, &error);
        }
    }

    /// The log has failed: everyone in the batch gets the error.
    pub(super) fn refuse(&mut self) {
        for Command { change, .. } in self.drained.drain(..) {
            let error = self
                .shared
                .refusal()
                .unwrap_or_else(|| io::Error::other("log failed"));
            match change {
                Change::Append { on_durable, .. } => on_durable(Err(error)),
                Change::Vote { on_durable, .. } | Change::Truncate { on_durable, .. } => {
                    drop(on_durable.send(Err(error)));
                }
                Change::Seal { on_durable } => drop(on_durable.send(Err(error))),
                Change::Purge { .. } => {}
            }
        }
    }

    /// Entries that wait for the disk are not part of the cache's bound: they have one of their own.
    fn trim_cache(&mut self) {
        let counters = &self.shared.counters;
        let waiting_units = self.shared.room_units as usize - self.shared.room.available_permits();
        let allowed = self.cache_bytes_max + (waiting_units * ROOM_UNIT_BYTES) as u64;
        let excess = counters
            .cache_bytes
            .load(Ordering::Relaxed)
            .saturating_sub(allowed);
        let freed = self.cache.evict(excess);
        counters.cache_bytes.fetch_sub(freed, Ordering::Relaxed);
    }
}
