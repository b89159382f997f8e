//! The bytes of a segment: file header, batches, records. The drawing is in the log's own page.
//!
//! ```text
//! file header (64)   0 magic "HWLOG\r\n\x1a" · 8 format u32 · 12 crc u32 (of the rest) · 16 segment u64
//!                    · 24 salt u64 · 32 number of the first batch u64 · 40 end of the previous segment u64
//!                    · 48 zero
//! batch header (32)  0 crc of the header · 4 body bytes u32 · 8 records u32 · 12 crc of the body
//!                    · 16 number u64 · 24 salt u64; begins at a multiple of 64
//! record header (16) 0 crc of the rest of the record · 4 body bytes u32 · 8 kind u8 · 9 zero · 12 shard u32
//!
//! kind 1 entry       term u64 · node u64 · index u64 · payload
//!      2 vote        term u64 · node u64 · committed u8
//!      3 committed   log id (term u64 · node u64 · index u64)
//!      4 truncate    log id of the last entry kept, or nothing
//!      5 purge       log id of the last entry purged
//!      6 state       flags u8 (1 vote, 2 the vote is committed, 4 committed, 8 purged, 16 last)
//!                    · vote term u64 · vote node u64 · committed · purged · last, each if flagged
//! ```
//!
//! The checksums of batch headers and records begin with segment, salt and position; batches are numbered from 1
//! without a gap through all segments.

mod batch;
mod record;

pub(super) use self::{
    batch::{BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, BatchWriter},
    record::{ENTRY_OVERHEAD_BYTES, RECORD_BYTES_SMALL_MAX, Record, Records, entry_payload},
};

/// The newest format. Numbers are never reused.
pub(super) const FORMAT: u32 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"HWLOG\r\n\x1a";

/// What makes the bytes of a segment its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) segment: u64,
    pub(super) salt: u64,
}

impl Identity {
    /// What a checksum of bytes at `offset` begins with.
    fn seed(self, offset: u64) -> u32 {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c(&bytes)
    }
}

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) identity: Identity,
    /// The number of the batch with the state of all shards.
    pub(super) first_batch: u64,
    /// Where the last batch of the segment before this one ends; 0 in the first ever.
    pub(super) previous_end: u64,
}

/// Why the first bytes are not those of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Damaged,
    Format(u32),
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.identity.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_batch.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = FileHeader::crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<FileHeader, HeaderFault> {
        if bytes[..8] != MAGIC || u32_at(bytes, 12) != FileHeader::crc(bytes) {
            return Err(HeaderFault::Damaged);
        }
        match u32_at(bytes, 8) {
            FORMAT => {}
            other => return Err(HeaderFault::Format(other)),
        }
        Ok(FileHeader {
            identity: Identity {
                segment: u64_at(bytes, 16),
                salt: u64_at(bytes, 24),
            },
            first_batch: u64_at(bytes, 32),
            previous_end: u64_at(bytes, 40),
        })
    }

    /// Covers magic and version too, in every version to come.
    fn crc(bytes: &[u8; FILE_HEADER_BYTES]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_header_is_read_back_and_every_flipped_bit_is_seen() {
        let header = FileHeader {
            identity: Identity {
                segment: 3,
                salt: 9,
            },
            first_batch: 4,
            previous_end: 5,
        };
        let bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(header));
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                FileHeader::decode(&flipped),
                Err(HeaderFault::Damaged),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let header = FileHeader {
            identity: Identity {
                segment: 3,
                salt: 9,
            },
            first_batch: 4,
            previous_end: 5,
        };
        let mut bytes = header.encode();
        bytes[8] = 2;
        let crc = FileHeader::crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), Err(HeaderFault::Format(2)));
    }
}
