//! The part of a shard's state that says what its projects have used in the hour that is going on.

use std::collections::hash_map::Entry;

use highwater_proto::{cluster as wire, ids::ProjectId, limits::METER_FORGOTTEN_MS};
use rustc_hash::FxHashMap;

use super::{HOUR_MS, Hour, Traffics, key_from_wire, traffics_from_wire};

/// What the projects of a shard have used in the hour that is going on, and whose readings were taken.
#[derive(Debug, Default)]
pub struct Ledger {
    hours: FxHashMap<ProjectId, Hour>,
    /// Number and time of the last reading of each meter.
    meters: FxHashMap<[u8; 16], (u64, u64)>,
}

/// What has changed in a ledger.
#[derive(Debug, Default)]
pub struct Metered {
    /// Projects whose hour has changed; some of them several times.
    pub changed: Vec<ProjectId>,
    /// Hours that are over.
    pub over: Vec<(ProjectId, Hour)>,
    /// Whether a reading was taken.
    pub was_read: bool,
}

impl Ledger {
    /// The ledger as it was stored.
    pub fn restore(
        hours: impl IntoIterator<Item = (ProjectId, Hour)>,
        meters: wire::Meters,
    ) -> Ledger {
        let meters = meters.meters.into_iter();
        Ledger {
            hours: hours.into_iter().collect(),
            meters: meters
                .filter_map(|meter| {
                    Some((
                        meter.meter[..].try_into().ok()?,
                        (meter.number, meter.time_ms),
                    ))
                })
                .collect(),
        }
    }

    /// The last hour in which a project has used anything.
    pub fn hour(&self, project: ProjectId) -> Option<&Hour> {
        self.hours.get(&project)
    }

    /// Whose readings were taken, to be stored.
    pub fn meters(&self) -> wire::Meters {
        let mut meters: Vec<_> = self.meters.iter().collect();
        // In the same order on every replica.
        meters.sort_unstable();
        let meter = |(meter, (number, time_ms)): (&[u8; 16], &(u64, u64))| wire::Meter {
            meter: meter.to_vec().into(),
            number: *number,
            time_ms: *time_ms,
        };
        wire::Meters {
            meters: meters.into_iter().map(meter).collect(),
        }
    }

    /// Messages were appended, and this is what they come to.
    pub fn appended(
        &mut self,
        project: ProjectId,
        used: &Traffics,
        stored_bytes: u64,
        time_ms: u64,
        metered: &mut Metered,
    ) {
        let hour = self.enter(project, time_ms, metered);
        hour.use_more(used);
        hour.stored_bytes = stored_bytes;
    }

    /// A project has so many bytes stored now.
    pub fn stores(
        &mut self,
        project: ProjectId,
        stored_bytes: u64,
        time_ms: u64,
        metered: &mut Metered,
    ) {
        self.enter(project, time_ms, metered).stored_bytes = stored_bytes;
    }

    /// Takes a reading, unless it was taken before.
    pub fn take(&mut self, reading: &wire::Reading, time_ms: u64, metered: &mut Metered) {
        let Ok(meter) = <[u8; 16]>::try_from(&reading.meter[..]) else {
            return;
        };
        let last = self.meters.get(&meter).map_or(0, |(number, _)| *number);
        if reading.number <= last {
            return;
        }
        self.meters.insert(meter, (reading.number, time_ms));
        self.meters
            .retain(|_, (_, taken_ms)| time_ms < taken_ms.saturating_add(METER_FORGOTTEN_MS));
        metered.was_read = true;
        for read in &reading.projects {
            let Ok(project) = ProjectId::try_from(&read.project[..]) else {
                continue;
            };
            let hour = self.enter(project, time_ms, metered);
            hour.use_more(&traffics_from_wire(&read.traffic));
            hour.said(reading.node, read.connections, time_ms);
            for (key, used_ms) in read.keys.iter().filter_map(key_from_wire) {
                hour.used(key, used_ms);
            }
        }
    }

    /// The hour of a project at a time. One that was going on before is over.
    fn enter(&mut self, project: ProjectId, time_ms: u64, metered: &mut Metered) -> &mut Hour {
        let now = time_ms / HOUR_MS;
        if metered.changed.last() != Some(&project) {
            metered.changed.push(project);
        }
        match self.hours.entry(project) {
            Entry::Vacant(entry) => entry.insert(Hour::new(now)),
            Entry::Occupied(entry) => {
                let hour = entry.into_mut();
                if hour.hour < now {
                    // What is stored stays so until something says otherwise.
                    let next = Hour {
                        stored_bytes: hour.stored_bytes,
                        keys: std::mem::take(&mut hour.keys),
                        ..Hour::new(now)
                    };
                    metered.over.push((project, std::mem::replace(hour, next)));
                }
                hour
            }
        }
    }
}
