//! The files of the log: which there are, the one being written, and the used ones that come back.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

use super::{
    LogOptions,
    format::{BatchWriter, FILE_HEADER_BYTES, FileHeader, Identity},
    usage::Counters,
};
use crate::disk::{Disk, File};

const SEGMENT_SUFFIX: &str = ".log";
const SPARE_SUFFIX: &str = ".spare";

/// A file of the log.
pub(super) struct Segment {
    pub(super) identity: Identity,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) file: Box<dyn File>,
}

/// A file that holds nothing any more, or not yet.
pub(super) struct Spare {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) file: Box<dyn File>,
}

/// The name of a segment's file.
pub(super) fn segment_name(segment: u64) -> String {
    format!("{segment:016x}{SEGMENT_SUFFIX}")
}

fn spare_name(segment: u64) -> String {
    format!("{segment:016x}{SPARE_SUFFIX}")
}

/// What a file in the folder is by its name.
pub(super) enum NameKind {
    Segment(u64),
    Spare(u64),
    NotOurs,
}

impl NameKind {
    pub(super) fn of(name: &str) -> NameKind {
        let number = |suffix| {
            let digits = name.strip_suffix(suffix)?;
            (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
        };
        match (number(SEGMENT_SUFFIX), number(SPARE_SUFFIX)) {
            (Some(segment), _) => NameKind::Segment(segment),
            (_, Some(segment)) => NameKind::Spare(segment),
            _ => NameKind::NotOurs,
        }
    }
}

/// The segments of the log, oldest first, numbered without a gap. Readers look here while the writer changes it.
#[derive(Default)]
pub(super) struct SegmentTable {
    segments: RwLock<VecDeque<Arc<Segment>>>,
}

impl SegmentTable {
    pub(super) fn new(segments: VecDeque<Arc<Segment>>) -> SegmentTable {
        SegmentTable {
            segments: RwLock::new(segments),
        }
    }

    pub(super) fn get(&self, segment: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let oldest = segments.front()?.identity.segment;
        segments
            .get(usize::try_from(segment.checked_sub(oldest)?).ok()?)
            .cloned()
    }

    /// The oldest segment; 0 when there is none.
    pub(super) fn oldest(&self) -> u64 {
        let segments = self.segments.read();
        segments.front().map_or(0, |oldest| oldest.identity.segment)
    }

    /// The oldest segment, unless it is the only one.
    pub(super) fn oldest_of_many(&self) -> Option<u64> {
        let segments = self.segments.read();
        (segments.len() > 1).then(|| segments[0].identity.segment)
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let segments = self.segments.read();
        (
            segments.len() as u64,
            segments.iter().map(|segment| segment.bytes).sum(),
        )
    }

    fn newest(&self) -> Option<Arc<Segment>> {
        self.segments.read().back().cloned()
    }

    /// Takes out the oldest segment if it is before `live`. The newest stays in any case.
    fn pop_before(&self, live: u64) -> Option<Arc<Segment>> {
        let mut segments = self.segments.write();
        if segments.len() < 2 || segments[0].identity.segment >= live {
            return None;
        }
        segments.pop_front()
    }
}

/// The writer's side of the files.
pub(super) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    spares: Vec<Spare>,
    current: Option<Arc<Segment>>,
    /// Where the next batch goes in the current segment.
    end: u64,
    /// Segments before this one hold what is to be in no file any more: they are removed and not reused.
    reused_from: u64,
}

impl SegmentFiles {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        table: &SegmentTable,
        spares: Vec<Spare>,
        end: u64,
    ) -> SegmentFiles {
        SegmentFiles {
            disk,
            options,
            spares,
            current: table.newest(),
            end,
            reused_from: 0,
        }
    }

    /// Everything that was written so far is to be in no file once it is let go: what was reused, or waits to be, would
    /// still hold it.
    pub(super) fn forget(&mut self, counters: &Counters) -> io::Result<()> {
        self.reused_from = self.current().identity.segment + 1;
        for spare in self.spares.drain(..) {
            self.disk.remove(&spare.name)?;
        }
        self.count_spares(counters);
        self.disk.sync_dir()
    }

    /// Whether that many bytes still go into the current segment.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| self.end + bytes <= current.bytes)
    }

    /// Where the next batch goes.
    pub(super) fn position(&self) -> (Identity, u64) {
        (self.current().identity, self.end)
    }

    pub(super) fn current(&self) -> &Arc<Segment> {
        self.current
            .as_ref()
            .expect("a log that runs has a segment")
    }

    /// How long the next sync is to take, in a simulation.
    pub(super) fn sync_latency(&self) -> Duration {
        self.disk.sync_latency()
    }

    /// Writes a batch at [`SegmentFiles::position`].
    pub(super) fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        self.current().file.write_at(batch, self.end)?;
        self.end += batch.len() as u64;
        Ok(())
    }

    /// Begins the next segment with one batch of `state`, and room for `bytes` more. It has its name only when
    /// that batch is durable.
    pub(super) fn start(
        &mut self,
        table: &SegmentTable,
        counters: &Counters,
        batch_number: u64,
        batch: &mut BatchWriter,
        state: impl FnOnce(&mut BatchWriter),
        bytes: u64,
    ) -> io::Result<()> {
        let segment = self
            .current
            .as_ref()
            .map_or(1, |current| current.identity.segment + 1);
        let identity = Identity {
            segment,
            salt: self.options.salt(segment),
        };
        let header = FileHeader {
            identity,
            first_batch: batch_number,
            previous_end: self.end,
        };
        batch.begin(identity, FILE_HEADER_BYTES as u64, batch_number);
        state(batch);
        let batch = batch.finish();
        let end = (FILE_HEADER_BYTES + batch.len()) as u64;

        let Spare {
            name: spare,
            bytes,
            file,
        } = self.take_spare(counters, segment, end + bytes)?;
        file.write_at(batch, FILE_HEADER_BYTES as u64)?;
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        let name = segment_name(segment);
        self.disk.rename(&spare, &name)?;
        self.disk.sync_dir()?;
        Counters::add(&counters.syncs, 1);
        Counters::add(&counters.written_bytes, end as usize);

        let current = Arc::new(Segment {
            identity,
            name,
            bytes,
            file,
        });
        table.segments.write().push_back(current.clone());
        self.current = Some(current);
        self.end = end;
        Ok(())
    }

    fn take_spare(&mut self, counters: &Counters, segment: u64, bytes: u64) -> io::Result<Spare> {
        if bytes <= self.options.segment_bytes
            && let Some(spare) = self.spares.pop()
        {
            self.count_spares(counters);
            return Ok(spare);
        }
        let name = spare_name(segment);
        let bytes = bytes.max(self.options.segment_bytes);
        let file = self.disk.create(&name, bytes)?;
        Ok(Spare { name, bytes, file })
    }

    /// Lets the segments before `live` go, the oldest first and each for certain before the next, so that
    /// what a crash leaves has no gap. A file is reused unless somebody still reads it.
    pub(super) fn reclaim(
        &mut self,
        table: &SegmentTable,
        counters: &Counters,
        live: u64,
    ) -> io::Result<()> {
        while let Some(segment) = table.pop_before(live) {
            let number = segment.identity.segment;
            let may_be_reused =
                segment.bytes == self.options.segment_bytes && number >= self.reused_from;
            match Arc::try_unwrap(segment) {
                Ok(segment)
                    if may_be_reused && self.spares.len() < self.options.spare_segments_max =>
                {
                    let name = spare_name(number);
                    self.disk.rename(&segment.name, &name)?;
                    self.spares.push(Spare {
                        name,
                        bytes: segment.bytes,
                        file: segment.file,
                    });
                }
                Ok(segment) => self.disk.remove(&segment.name)?,
                Err(read) => self.disk.remove(&read.name)?,
            }
            self.disk.sync_dir()?;
        }
        self.count_spares(counters);
        Ok(())
    }

    pub(super) fn count_spares(&self, counters: &Counters) {
        let set = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&counters.spare_segments, self.spares.len() as u64);
        set(
            &counters.spare_bytes,
            self.spares.iter().map(|spare| spare.bytes).sum(),
        );
    }
}
