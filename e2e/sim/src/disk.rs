//! A node's disk: the faulty one of the storage crate, which also takes its time.

use std::{io, sync::Arc, time::Duration};

use highwater_storage::disk::{Disk, File, fault::FaultDisk};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// A disk in memory whose syncs take a random time.
pub struct SimDisk {
    /// What loses, tears, flips and refuses.
    pub faults: FaultDisk,
    pace: Mutex<Pace>,
}

struct Pace {
    random: SmallRng,
    /// How long one sync takes, at most.
    latency_max: Duration,
}

impl SimDisk {
    /// An empty disk whose syncs take at most this long.
    pub fn new(seed: u64, latency_max: Duration) -> Arc<SimDisk> {
        let random = SmallRng::seed_from_u64(seed);
        Arc::new(SimDisk {
            faults: FaultDisk::new(),
            pace: Mutex::new(Pace {
                random,
                latency_max,
            }),
        })
    }

    /// From now on a sync takes at most this long.
    pub fn set_latency_max(&self, latency_max: Duration) {
        self.pace.lock().latency_max = latency_max;
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.faults.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        self.faults.create(name, bytes)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.faults.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.faults.sync_dir()
    }

    /// Mostly quick, now and then as slow as it gets: the square of an even spread.
    fn sync_latency(&self) -> Duration {
        let mut pace = self.pace.lock();
        let share: f64 = pace.random.random();
        pace.latency_max.mul_f64(share * share)
    }
}
