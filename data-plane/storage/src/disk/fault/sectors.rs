//! The bytes of one file of the faulty disk, with every version of a sector since its last sync.

use std::collections::BTreeMap;

use super::{Dice, Fate};

const SECTOR_BYTES: usize = 512;

/// The bytes of a file, as read now and as they may be after a crash.
#[derive(Default)]
pub(super) struct Sectors {
    /// What a reader sees.
    now: Vec<u8>,
    /// Of each sector that was written since its last sync: what it held before each write.
    unsynced: BTreeMap<usize, Unsynced>,
    /// Lengths since the last sync, the synced one first. Empty if there was no change.
    lengths: Vec<usize>,
}

struct Unsynced {
    versions: Vec<[u8; SECTOR_BYTES]>,
    /// The bytes inside the sector that were written, start and end: a flipped bit stays in there.
    written: (usize, usize),
    /// A sync of it failed: the kernel holds it for clean and no later sync writes it.
    failed: bool,
}

impl Sectors {
    /// A file whose contents are on the disk.
    pub(super) fn synced(contents: Vec<u8>) -> Sectors {
        Sectors {
            now: contents,
            ..Sectors::default()
        }
    }

    /// What a reader sees.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.now.len() {
            self.lengths.push(self.now.len());
            self.now.resize(end, 0);
        }
        for sector in offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
            let start = sector * SECTOR_BYTES;
            let before = self.sector(sector);
            let written = (
                offset.max(start) - start,
                end.min(start + SECTOR_BYTES) - start,
            );
            let unsynced = self.unsynced.entry(sector).or_insert(Unsynced {
                versions: Vec::new(),
                written,
                failed: false,
            });
            unsynced.versions.push(before);
            unsynced.written = (
                unsynced.written.0.min(written.0),
                unsynced.written.1.max(written.1),
            );
            unsynced.failed = false;
        }
        self.now[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        self.lengths.push(self.now.len());
        self.now.resize(bytes, 0);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, sector| sector.failed);
        self.lengths.clear();
    }

    /// A sync that fails: everything it should have written is taken for clean from now on.
    pub(super) fn fail_sync(&mut self) {
        for sector in self.unsynced.values_mut() {
            sector.failed = true;
        }
    }

    /// Reads come from the disk again where the kernel has nothing left to write.
    pub(super) fn forget_failed(&mut self) {
        let failed: Vec<usize> = self
            .unsynced
            .iter()
            .filter(|(_, sector)| sector.failed)
            .map(|(&index, _)| index)
            .collect();
        for index in failed {
            let sector = self.unsynced.remove(&index).expect("just listed");
            self.set_sector(index, &sector.versions[0]);
        }
    }

    pub(super) fn crash(&mut self, fate: Fate, flips: bool, dice: &mut Dice) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let kept = dice.below(unsynced.len() as u64 + 1) as usize;
        for (nth, (index, sector)) in unsynced.into_iter().enumerate() {
            // The newest version is the one after the last that is remembered.
            let newest = sector.versions.len();
            let found = match fate {
                _ if sector.failed => 0,
                Fate::Lost => 0,
                Fate::Kept => newest,
                Fate::Torn => dice.below(newest as u64 + 1) as usize,
                Fate::Prefix => {
                    if nth < kept {
                        newest
                    } else {
                        0
                    }
                }
            };
            if let Some(version) = sector.versions.get(found) {
                self.set_sector(index, version);
            }
            if flips && dice.below(4) == 0 {
                let (start, end) = sector.written;
                let offset =
                    index * SECTOR_BYTES + start + dice.below((end - start) as u64) as usize;
                if offset < self.now.len() {
                    self.now[offset] ^= 1 << dice.below(8);
                }
            }
        }
        if let Some(&synced) = self.lengths.first()
            && dice.below(2) == 0
        {
            self.now.resize(synced, 0);
        }
        self.lengths.clear();
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        self.now[offset as usize] ^= 1 << bit;
    }

    fn sector(&self, index: usize) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let start = index * SECTOR_BYTES;
        if let Some(found) = self
            .now
            .get(start..self.now.len().min(start + SECTOR_BYTES))
        {
            sector[..found.len()].copy_from_slice(found);
        }
        sector
    }

    fn set_sector(&mut self, index: usize, version: &[u8; SECTOR_BYTES]) {
        let start = index * SECTOR_BYTES;
        let end = self.now.len().min(start + SECTOR_BYTES);
        if start < end {
            self.now[start..end].copy_from_slice(&version[..end - start]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_is_torn_by_sector() {
        let mut seen_torn = false;
        for seed in 0..200 {
            let mut file = Sectors::synced(vec![0; 4 * SECTOR_BYTES]);
            file.write(&[1; 100], 0);
            file.sync();
            file.write(&[2; 3 * SECTOR_BYTES], 100);
            file.crash(Fate::Torn, false, &mut Dice(seed));
            assert_eq!(file.bytes()[..100], [1; 100]);
            let kept: Vec<bool> = (0..4)
                .map(|sector| file.bytes()[sector * SECTOR_BYTES + 110] == 2)
                .collect();
            seen_torn |= kept[0] != kept[1];
        }
        assert!(seen_torn);
    }

    #[test]
    fn bytes_of_a_failed_sync_are_read_until_the_cache_forgets_them() {
        let mut file = Sectors::synced(vec![0; SECTOR_BYTES]);
        file.write(&[7], 0);
        file.fail_sync();
        file.sync();
        assert_eq!(file.bytes()[0], 7);
        file.forget_failed();
        assert_eq!(file.bytes()[0], 0);
    }
}
