//! A block: consecutive records of one topic as they are stored, one value of a [`crate::kv::Kv`].
//!
//! ```text
//! version u8 · zero [u8; 3] · crc32c u32 · header · runs · lengths · messages
//! header   base offset u64 · base position u64 · base bytes u64 · first time u64 · last time u64 ·
//!          message bytes u64 · records u32 · runs u32
//! run      positions since the run before · milliseconds since the run before · records
//! lengths  one for each record
//! ```
//!
//! The header's numbers are little-endian, those of runs and lengths are varints. The checksum is of
//! everything but itself. A run is what was appended at once, or at the same time without anything
//! else in between: its records stand next to each other in the shard. Decoding copies no message:
//! the segments share the block's memory.

use std::sync::Arc;

use bytes::Bytes;
use highwater_broker::segment::{Segment, TopicIdentity};
use highwater_proto::limits::BLOCK_BYTES_MAX;
use prost::encoding::{decode_varint, encode_varint};

const VERSION: u8 = 1;
const CRC_AT: usize = 4;
const HEADER_AT: usize = 8;
const TABLES_AT: usize = HEADER_AT + 6 * 8 + 2 * 4;

/// A block that is not one, or was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of records is damaged: {0}")]
pub struct BadBlock(&'static str);

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: u64,
    /// Position of the first record in the shard.
    pub base_position: u64,
    /// Bytes of all records that the topic ever held before these.
    pub base_bytes: u64,
    /// When the first record was published, in milliseconds since the Unix epoch.
    pub first_time_ms: u64,
    /// When the last record was published.
    pub last_time_ms: u64,
    /// Bytes of the messages.
    pub bytes: u64,
    /// The number of records.
    pub records: u32,
    /// The number of runs.
    pub runs: u32,
}

/// Records that stand next to each other in the shard and were published at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    position: u64,
    time_ms: u64,
    records: u64,
}

/// A block that was checked.
#[derive(Debug)]
pub struct Block {
    header: Header,
    runs: Vec<Run>,
    /// Where each record ends in `messages`.
    ends: Vec<u32>,
    messages: Bytes,
}

impl Header {
    /// The offset after the last record.
    pub fn end_offset(&self) -> u64 {
        self.base_offset + u64::from(self.records)
    }
}

impl Block {
    /// Reads and checks a block.
    pub fn decode(value: Bytes) -> Result<Block, BadBlock> {
        let header = checked_header(&value)?;
        let mut rest = &value[TABLES_AT..];
        let runs = decode_runs(&mut rest, &header)?;
        let ends = decode_ends(&mut rest, &header)?;
        let messages = value.slice(value.len() - rest.len()..);
        if messages.len() as u64 != header.bytes {
            return Err(BadBlock("its messages have other lengths"));
        }
        Ok(Block {
            header,
            runs,
            ends,
            messages,
        })
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The records, as segments of the topic they are of.
    pub fn segments(&self, topic: &Arc<TopicIdentity>) -> Vec<Arc<Segment>> {
        let mut segments = Vec::with_capacity(self.runs.len());
        let mut first = 0;
        for run in &self.runs {
            segments.push(self.segment(topic, run, first));
            first += run.records as usize;
        }
        segments
    }

    /// The segment that holds an offset.
    pub fn segment_with(&self, topic: &Arc<TopicIdentity>, offset: u64) -> Option<Arc<Segment>> {
        let wanted = offset.checked_sub(self.header.base_offset)?;
        let mut first = 0;
        for run in &self.runs {
            if wanted < first + run.records {
                return Some(self.segment(topic, run, first as usize));
            }
            first += run.records;
        }
        None
    }

    fn segment(&self, topic: &Arc<TopicIdentity>, run: &Run, first: usize) -> Arc<Segment> {
        let records = first..first + run.records as usize;
        let messages = records.map(|i| self.messages.slice(self.begin(i)..self.end(i)));
        Arc::new(Segment::new(
            topic.clone(),
            self.header.base_offset + first as u64,
            run.position,
            self.header.base_bytes + self.begin(first) as u64,
            run.time_ms,
            messages.collect(),
        ))
    }

    /// Bytes of all records that the topic ever held before this offset, which is in the block.
    pub fn bytes_before(&self, offset: u64) -> u64 {
        let index = offset.saturating_sub(self.header.base_offset) as usize;
        self.header.base_bytes + self.begin(index.min(self.ends.len())) as u64
    }

    /// The first offset before which the topic ever held at least so many bytes.
    pub fn offset_at_bytes(&self, bytes: u64) -> u64 {
        let wanted = bytes.saturating_sub(self.header.base_bytes);
        let index = match wanted {
            0 => 0,
            _ => self.ends.partition_point(|end| u64::from(*end) < wanted) + 1,
        };
        self.header.base_offset + index.min(self.ends.len()) as u64
    }

    /// The first offset published at or after a time; the one after the block when all are older.
    pub fn offset_at_time(&self, time_ms: u64) -> u64 {
        let older = self.runs.iter().take_while(|r| r.time_ms < time_ms);
        self.header.base_offset + older.map(|r| r.records).sum::<u64>()
    }

    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.end(before))
    }

    fn end(&self, index: usize) -> usize {
        self.ends[index] as usize
    }
}

fn checked_header(value: &[u8]) -> Result<Header, BadBlock> {
    if value.len() < TABLES_AT {
        return Err(BadBlock("it is too short"));
    }
    if value[..CRC_AT] != [VERSION, 0, 0, 0] {
        return Err(BadBlock("its version is not known"));
    }
    if checksum(value).to_le_bytes() != value[CRC_AT..HEADER_AT] {
        return Err(BadBlock("its checksum differs"));
    }
    let number = |at: usize| {
        let at = HEADER_AT + at;
        u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"))
    };
    let counts = number(48);
    let header = Header {
        base_offset: number(0),
        base_position: number(8),
        base_bytes: number(16),
        first_time_ms: number(24),
        last_time_ms: number(32),
        bytes: number(40),
        records: counts as u32,
        runs: (counts >> 32) as u32,
    };
    // Each run and each length takes at least a byte, so this bounds what is reserved for them.
    let fits = u64::from(header.records) + u64::from(header.runs) <= value.len() as u64;
    if !fits || header.records == 0 || header.runs == 0 {
        return Err(BadBlock("its counts are impossible"));
    }
    Ok(header)
}

fn decode_runs(rest: &mut &[u8], header: &Header) -> Result<Vec<Run>, BadBlock> {
    let bad = |_| BadBlock("its runs are cut off");
    let overflow = BadBlock("its runs are impossible");
    let (mut position, mut time_ms) = (header.base_position, header.first_time_ms);
    let mut records = 0u64;
    let mut runs = Vec::with_capacity(header.runs as usize);
    for _ in 0..header.runs {
        let skipped = decode_varint(rest).map_err(bad)?;
        let elapsed = decode_varint(rest).map_err(bad)?;
        let count = decode_varint(rest).map_err(bad)?;
        position = position.checked_add(skipped).ok_or(overflow)?;
        time_ms = time_ms.checked_add(elapsed).ok_or(overflow)?;
        runs.push(Run {
            position,
            time_ms,
            records: count,
        });
        position = position.checked_add(count).ok_or(overflow)?;
        records = records.checked_add(count).ok_or(overflow)?;
        if count == 0 {
            return Err(overflow);
        }
    }
    if records != u64::from(header.records) || time_ms != header.last_time_ms {
        return Err(overflow);
    }
    Ok(runs)
}

fn decode_ends(rest: &mut &[u8], header: &Header) -> Result<Vec<u32>, BadBlock> {
    let mut end = 0u64;
    let mut ends = Vec::with_capacity(header.records as usize);
    for _ in 0..header.records {
        let bytes = decode_varint(rest).map_err(|_| BadBlock("its lengths are cut off"))?;
        end = end.saturating_add(bytes);
        ends.push(u32::try_from(end).map_err(|_| BadBlock("its lengths are impossible"))?);
    }
    Ok(ends)
}

fn checksum(value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&value[..CRC_AT]), &value[HEADER_AT..])
}

/// Collects records of one topic, in order, until the block is full.
#[derive(Debug, Default)]
pub struct BlockBuilder<'a> {
    base: Option<(u64, u64, u64)>,
    runs: Vec<Run>,
    messages: Vec<&'a Bytes>,
    bytes: usize,
}

impl<'a> BlockBuilder<'a> {
    /// The offset of the first record, if there is one.
    pub fn base_offset(&self) -> Option<u64> {
        self.base.map(|(offset, ..)| offset)
    }

    /// Takes a record of a segment. `bytes_before` are those of the segment's earlier records.
    /// Returns false, having done nothing, when the record belongs into the next block.
    pub fn push(&mut self, segment: &'a Segment, index: usize, bytes_before: u64) -> bool {
        let message = &segment.messages[index];
        let offset = segment.base_offset + index as u64;
        let position = segment.base_position + index as u64;
        let (base_offset, ..) =
            *self
                .base
                .get_or_insert((offset, position, segment.base_bytes + bytes_before));
        let follows = offset == base_offset + self.messages.len() as u64;
        let full = self.bytes + message.len() > BLOCK_BYTES_MAX && !self.messages.is_empty();
        if full || !follows {
            return false;
        }
        self.bytes += message.len();
        self.messages.push(message);
        match self.runs.last_mut() {
            Some(run)
                if run.position + run.records == position && run.time_ms == segment.time_ms =>
            {
                run.records += 1;
            }
            _ => self.runs.push(Run {
                position,
                time_ms: segment.time_ms,
                records: 1,
            }),
        }
        true
    }

    /// The block's base offset and its bytes, if it holds records. Starts the next one.
    pub fn finish(&mut self) -> Option<(u64, Vec<u8>)> {
        let (base_offset, base_position, base_bytes) = self.base.take()?;
        let first_time_ms = self.runs[0].time_ms;
        let last_time_ms = self.runs.last().map_or(first_time_ms, |r| r.time_ms);
        let tables = 8 * self.runs.len() + 3 * self.messages.len();
        let mut out = Vec::with_capacity(TABLES_AT + tables + self.bytes);
        out.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        for number in [
            base_offset,
            base_position,
            base_bytes,
            first_time_ms,
            last_time_ms,
            self.bytes as u64,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(self.messages.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        let (mut position, mut time_ms) = (base_position, first_time_ms);
        for run in self.runs.drain(..) {
            assert!(
                run.position >= position && run.time_ms >= time_ms,
                "positions and times of a topic never go back"
            );
            encode_varint(run.position - position, &mut out);
            encode_varint(run.time_ms - time_ms, &mut out);
            encode_varint(run.records, &mut out);
            (position, time_ms) = (run.position + run.records, run.time_ms);
        }
        for message in &self.messages {
            encode_varint(message.len() as u64, &mut out);
        }
        for message in self.messages.drain(..) {
            out.extend_from_slice(message);
        }
        self.bytes = 0;
        let crc = checksum(&out).to_le_bytes();
        out[CRC_AT..HEADER_AT].copy_from_slice(&crc);
        Some((base_offset, out))
    }
}

#[cfg(test)]
mod tests;
