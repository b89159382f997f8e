//! Reading entries: what is in memory is cloned, the rest is read with few large reads.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use highwater_proto::ids::ShardId;

use super::{
    Entry, LogError,
    format::{self, ENTRY_OVERHEAD_BYTES},
    front::Front,
    places::Spot,
    segments::{Segment, SegmentTable},
};

/// Bytes of other shards between two entries that are read along rather than skipped with another call.
const GAP_BYTES_MAX: u64 = 4 << 10;
/// Bytes at which one read ends.
const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// What to read from where, decided under the shard's lock; the disk is read without it.
pub(super) struct Plan {
    chunks: Vec<Chunk>,
    cached: Vec<Entry>,
}

/// One read. It holds the segment, so that its file is not reused meanwhile.
struct Chunk {
    segment: Arc<Segment>,
    entries: Vec<(u64, Spot)>,
}

impl Plan {
    pub(super) fn new(
        front: &Front,
        range: Range<u64>,
        bytes_max: usize,
        segments: &SegmentTable,
    ) -> Plan {
        let live = front.live();
        let range = range.start.max(live.start)..range.end.min(live.end);
        let mut plan = Plan {
            chunks: Vec::new(),
            cached: Vec::new(),
        };
        let mut bytes = 0;
        let mut fits = |payload: usize| {
            let first = bytes == 0;
            bytes += payload.max(1);
            first || bytes <= bytes_max
        };
        for index in range.start..range.end.min(front.cached_from()) {
            let (segment, spot) = front
                .places()
                .get(index)
                .expect("what left memory is on disk");
            if !fits(spot.bytes as usize - ENTRY_OVERHEAD_BYTES) {
                return plan;
            }
            plan.add(index, segment, spot, segments);
        }
        let from = range.start.max(front.cached_from());
        if from < range.end {
            let wanted = front.cached(from).take((range.end - from) as usize);
            plan.cached = wanted
                .take_while(|entry| fits(entry.payload.len()))
                .cloned()
                .collect();
        }
        plan
    }

    fn add(&mut self, index: u64, segment: u64, spot: Spot, segments: &SegmentTable) {
        if let Some(chunk) = self.chunks.last_mut()
            && chunk.takes(segment, spot)
        {
            return chunk.entries.push((index, spot));
        }
        let segment = segments
            .get(segment)
            .expect("a segment with live entries is kept");
        self.chunks.push(Chunk {
            segment,
            entries: vec![(index, spot)],
        });
    }

    /// The entries of a plan that begins in memory, and so is there altogether.
    pub(super) fn into_cached(self) -> Vec<Entry> {
        assert!(
            self.chunks.is_empty(),
            "what is in memory reaches to the end of the log"
        );
        self.cached
    }

    pub(super) fn read(self, shard: ShardId) -> io::Result<Vec<Entry>> {
        let count = self
            .chunks
            .iter()
            .map(|chunk| chunk.entries.len())
            .sum::<usize>();
        if count == 0 {
            return Ok(self.cached);
        }
        let mut entries = Vec::with_capacity(count + self.cached.len());
        for chunk in &self.chunks {
            chunk.read(shard, &mut entries)?;
        }
        entries.extend(self.cached);
        Ok(entries)
    }
}

impl Chunk {
    fn takes(&self, segment: u64, spot: Spot) -> bool {
        let start = u64::from(self.entries[0].1.position);
        let end = self.entries[self.entries.len() - 1].1.end();
        self.segment.identity.segment == segment
            && u64::from(spot.position) <= end + GAP_BYTES_MAX
            && spot.end() - start <= CHUNK_BYTES_MAX
    }

    fn read(&self, shard: ShardId, entries: &mut Vec<Entry>) -> io::Result<()> {
        let start = u64::from(self.entries[0].1.position);
        let end = self.entries[self.entries.len() - 1].1.end();
        let mut buffer = vec![0; (end - start) as usize];
        self.segment.file.read_at(&mut buffer, start)?;
        let buffer = Bytes::from(buffer);
        for &(index, spot) in &self.entries {
            let offset = u64::from(spot.position);
            let record = buffer.slice((offset - start) as usize..(spot.end() - start) as usize);
            let (id, payload) =
                format::entry_payload(&record, self.segment.identity, offset, shard, index)
                    .map_err(|what| {
                        let error = LogError::corrupted(&self.segment.name, offset, what);
                        io::Error::new(io::ErrorKind::InvalidData, error)
                    })?;
            entries.push(Entry {
                id,
                payload: record.slice(payload),
            });
        }
        Ok(())
    }
}
