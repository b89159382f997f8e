//! A feed chunk: where consecutive records of a project are, in the order of the shard.
//!
//! ```text
//! version u8 · zero [u8; 3] · crc32c u32 · first time u64 · runs u32 · runs
//! run     topic · base offset · records of the block before it · positions since the run before ·
//!         milliseconds since · records
//! ```
//!
//! The header's numbers are little-endian, those of runs are varints. The position of the first run
//! is in the key. The checksum is of everything but itself.

use highwater_broker::segment::Segment;
use highwater_proto::{ids::TopicId, limits::FEED_CHUNK_RUNS_MAX};
use prost::encoding::{decode_varint, encode_varint};

use super::{StoreError, value::damaged};

const VERSION: u8 = 1;
const CRC_AT: usize = 4;
const TIME_AT: usize = 8;
const RUNS_AT: usize = 20;

/// Consecutive records of one topic that stand next to each other in the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The topic.
    pub topic: TopicId,
    /// Offset of the first record.
    pub base_offset: u64,
    /// Base offset of the block that holds the first record, so that it is found without a search.
    /// Only a hint: the block may be gone.
    pub block_offset: u64,
    /// Position of the first record.
    pub base_position: u64,
    /// The number of records.
    pub records: u64,
    /// When they were published, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Run {
    /// Some records of a segment, which is not in a block yet.
    pub fn of(segment: &Segment, start: u64, end: u64) -> Run {
        Run {
            topic: segment.topic.id,
            base_offset: segment.base_offset + start,
            block_offset: segment.base_offset + start,
            base_position: segment.base_position + start,
            records: end - start,
            time_ms: segment.time_ms,
        }
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> u64 {
        self.base_offset + self.records
    }

    /// The position after the last record.
    pub fn end_position(&self) -> u64 {
        self.base_position + self.records
    }

    fn continues(&self, before: &Run) -> bool {
        self.topic == before.topic
            && self.base_offset == before.end_offset()
            && self.base_position == before.end_position()
            && self.time_ms == before.time_ms
    }
}

/// Collects runs in the order of their positions.
#[derive(Debug, Default)]
pub struct FeedChunkBuilder {
    runs: Vec<Run>,
}

impl FeedChunkBuilder {
    /// Takes a run. Returns false, having done nothing, when it belongs into the next chunk.
    pub fn push(&mut self, run: Run) -> bool {
        let full = self.runs.len() == FEED_CHUNK_RUNS_MAX;
        match self.runs.last_mut() {
            Some(last) if run.continues(last) => last.records += run.records,
            _ if full => return false,
            _ => self.runs.push(run),
        }
        true
    }

    /// The first position and the chunk, if it holds runs. Starts the next one.
    pub fn finish(&mut self) -> Option<(u64, Vec<u8>)> {
        let first = *self.runs.first()?;
        let mut out = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&first.time_ms.to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        let (mut position, mut time_ms) = (first.base_position, first.time_ms);
        for run in self.runs.drain(..) {
            assert!(
                run.base_position >= position && run.time_ms >= time_ms,
                "positions and times of a shard never go back"
            );
            assert!(run.block_offset <= run.base_offset, "a block begins before");
            encode_varint(run.topic.0, &mut out);
            encode_varint(run.base_offset, &mut out);
            encode_varint(run.base_offset - run.block_offset, &mut out);
            encode_varint(run.base_position - position, &mut out);
            encode_varint(run.time_ms - time_ms, &mut out);
            encode_varint(run.records, &mut out);
            (position, time_ms) = (run.end_position(), run.time_ms);
        }
        let crc = checksum(&out).to_le_bytes();
        out[CRC_AT..TIME_AT].copy_from_slice(&crc);
        Some((first.base_position, out))
    }
}

/// When the first record of a chunk was published, without looking at the rest.
pub fn first_time_ms(chunk: &[u8]) -> Result<u64, StoreError> {
    let bytes = chunk.get(TIME_AT..TIME_AT + 8);
    let bytes = bytes.ok_or_else(|| damaged("a feed chunk"))?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

/// The runs of a chunk whose key says this first position.
pub fn decode(first_position: u64, chunk: &[u8]) -> Result<Vec<Run>, StoreError> {
    decode_checked(first_position, chunk).ok_or_else(|| damaged("a feed chunk"))
}

fn decode_checked(first_position: u64, chunk: &[u8]) -> Option<Vec<Run>> {
    let header = chunk.get(..RUNS_AT)?;
    let crc = u32::from_le_bytes(header[CRC_AT..TIME_AT].try_into().ok()?);
    if header[..CRC_AT] != [VERSION, 0, 0, 0] || checksum(chunk) != crc {
        return None;
    }
    let mut time_ms = first_time_ms(chunk).ok()?;
    let mut position = first_position;
    let count = u32::from_le_bytes(header[RUNS_AT - 4..].try_into().ok()?) as usize;
    if count > FEED_CHUNK_RUNS_MAX {
        return None;
    }
    let mut rest = &chunk[RUNS_AT..];
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let topic = TopicId(decode_varint(&mut rest).ok()?);
        let base_offset = decode_varint(&mut rest).ok()?;
        let block_offset = base_offset.checked_sub(decode_varint(&mut rest).ok()?)?;
        position = position.checked_add(decode_varint(&mut rest).ok()?)?;
        time_ms = time_ms.checked_add(decode_varint(&mut rest).ok()?)?;
        let records = decode_varint(&mut rest).ok()?;
        base_offset.checked_add(records)?;
        runs.push(Run {
            topic,
            base_offset,
            block_offset,
            base_position: position,
            records,
            time_ms,
        });
        position = position.checked_add(records)?;
    }
    rest.is_empty().then_some(runs)
}

fn checksum(chunk: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&chunk[..CRC_AT]), &chunk[TIME_AT..])
}

#[cfg(test)]
mod tests;
