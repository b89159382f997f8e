//! Opening: every batch of every segment is read and checked, the torn end is cut off, corruption is named.

mod replay;

use std::{collections::VecDeque, sync::Arc};

use self::replay::Replay;
use super::{
    LogError, LogOptions,
    format::{FILE_HEADER_BYTES, FORMAT, FileHeader, HeaderFault},
    front::Front,
    segments::{NameKind, Segment, Spare, segment_name},
};
use crate::disk::{Disk, File};
use highwater_proto::ids::ShardId;

/// What a folder holds.
pub(super) struct Recovered {
    pub(super) segments: VecDeque<Arc<Segment>>,
    pub(super) spares: Vec<Spare>,
    /// Where the next batch goes in the last segment.
    pub(super) end: u64,
    /// The number of the next batch.
    pub(super) next_batch: u64,
    pub(super) shards: Vec<(ShardId, Front)>,
}

/// Reads the folder.
pub(super) fn recover(disk: &dyn Disk, options: &LogOptions) -> Result<Recovered, LogError> {
    let (numbers, spare_names) = list(disk)?;
    // A process that was killed may have renamed a file and not got to sync the folder.
    disk.sync_dir().map_err(LogError::io("sync its folder"))?;
    let mut segments = VecDeque::with_capacity(numbers.len());
    let mut headers = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        let (segment, header) = open_segment(disk, number)?;
        if segments.is_empty() || number == numbers[0] + segments.len() as u64 {
            segments.push_back(Arc::new(segment));
            headers.push(header);
            continue;
        }
        let missing = segment_name(numbers[0] + segments.len() as u64);
        return Err(LogError::corrupted(
            &missing,
            0,
            "the file is missing between two others",
        ));
    }

    let mut replay = Replay::new(headers.first().map_or(1, |header| header.first_batch));
    let mut buffer = Vec::new();
    let mut end = 0;
    for (nth, segment) in segments.iter().enumerate() {
        let next = headers.get(nth + 1);
        read_segment(segment, next.is_none(), &mut buffer)?;
        end = replay.segment(
            segment,
            &headers[nth],
            &buffer,
            next.map(|next| next.previous_end),
        )?;
    }
    let (shards, next_batch) =
        replay.finish(segments.front().map_or("", |oldest| oldest.name.as_str()))?;
    let newest = numbers.last().copied().unwrap_or(0);
    let spares = open_spares(disk, options, spare_names, newest)?;
    Ok(Recovered {
        segments,
        spares,
        end,
        next_batch,
        shards,
    })
}

/// The name of a spare file and the number in it.
type SpareName = (u64, String);

/// The numbers of the segments in order, and the spare files.
fn list(disk: &dyn Disk) -> Result<(Vec<u64>, Vec<SpareName>), LogError> {
    let mut numbers = Vec::new();
    let mut spares = Vec::new();
    for name in disk.list().map_err(LogError::io("list its folder"))? {
        match NameKind::of(&name) {
            NameKind::Segment(number) => numbers.push(number),
            NameKind::Spare(number) => spares.push((number, name)),
            NameKind::NotOurs => {}
        }
    }
    numbers.sort_unstable();
    spares.sort_unstable();
    Ok((numbers, spares))
}

fn open_segment(disk: &dyn Disk, number: u64) -> Result<(Segment, FileHeader), LogError> {
    let name = segment_name(number);
    let file = disk
        .open(&name)
        .map_err(LogError::io(format!("open {name}")))?;
    let bytes = file
        .bytes()
        .map_err(LogError::io(format!("read the length of {name}")))?;
    let mut first = [0; FILE_HEADER_BYTES];
    if bytes < first.len() as u64 {
        return Err(LogError::corrupted(
            &name,
            0,
            "the file is shorter than its header",
        ));
    }
    file.read_at(&mut first, 0)
        .map_err(LogError::io(format!("read {name}")))?;
    let header = FileHeader::decode(&first).map_err(|fault| match fault {
        HeaderFault::Damaged => LogError::corrupted(&name, 0, "the header of the file is damaged"),
        HeaderFault::Format(version) => LogError::Format {
            file: name.clone(),
            version,
            newest: FORMAT,
        },
    })?;
    if header.identity.segment != number {
        let what = format!("the header is that of segment {}", header.identity.segment);
        return Err(LogError::corrupted(&name, 0, what));
    }
    Ok((
        Segment {
            identity: header.identity,
            name,
            bytes,
            file,
        },
        header,
    ))
}

fn read_segment(segment: &Segment, last: bool, buffer: &mut Vec<u8>) -> Result<(), LogError> {
    let (file, name): (&dyn File, _) = (&*segment.file, &segment.name);
    if last {
        // What is read now is promised from now on: after a mere end of the process it may be in the page
        // cache only. And after a failed sync of that process the cache may hold what the disk does not.
        file.sync_data()
            .map_err(LogError::io(format!("sync {name}")))?;
        file.forget_cached()
            .map_err(LogError::io(format!("drop the cache of {name}")))?;
    }
    buffer.clear();
    buffer.resize(segment.bytes as usize, 0);
    file.read_at(buffer, 0)
        .map_err(LogError::io(format!("read {name}")))
}

fn open_spares(
    disk: &dyn Disk,
    options: &LogOptions,
    names: Vec<SpareName>,
    newest: u64,
) -> Result<Vec<Spare>, LogError> {
    let mut spares = Vec::new();
    for (number, name) in names {
        let file = disk
            .open(&name)
            .map_err(LogError::io(format!("open {name}")))?;
        let bytes = file
            .bytes()
            .map_err(LogError::io(format!("read the length of {name}")))?;
        // One that was to become a later segment would be in the way of making that again.
        let wanted = number <= newest
            && bytes == options.segment_bytes
            && spares.len() < options.spare_segments_max;
        match wanted {
            true => spares.push(Spare { name, bytes, file }),
            false => disk
                .remove(&name)
                .map_err(LogError::io(format!("remove {name}")))?,
        }
    }
    Ok(spares)
}
