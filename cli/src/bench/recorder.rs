//! What is measured: latencies and counts, in a few shards so that threads do not wait for each other.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Longest latency that is told apart: two minutes, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;

/// The run's clock: nanoseconds since it began.
#[derive(Debug, Clone, Copy)]
pub struct RunClock(Instant);

impl RunClock {
    /// Starts now.
    pub fn start() -> RunClock {
        RunClock(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// The moment so many nanoseconds after the start.
    pub fn at(self, nanos: u64) -> Instant {
        self.0 + std::time::Duration::from_nanos(nanos)
    }
}

/// Latencies of one kind of event.
#[derive(Debug)]
pub struct Recorder {
    shards: Box<[Mutex<Shard>]>,
    /// Only what happens from the first to before the second of these is measured.
    window: OnceLock<(u64, u64)>,
    last: AtomicU64,
    silence_max: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    /// Of the whole window.
    whole: Histogram<u64>,
    /// Since the last look.
    recent: Histogram<u64>,
    /// Events at any time, for the line that shows the progress.
    total: u64,
}

/// What was seen since the last look.
#[derive(Debug)]
pub struct Recent {
    /// Latencies, in microseconds.
    pub latency_us: Histogram<u64>,
    /// Events so far.
    pub total: u64,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("the bounds are constant and valid")
}

impl Recorder {
    /// With nothing to measure until [`Recorder::open`].
    pub fn new(shards: usize) -> Recorder {
        let shard = || {
            Mutex::new(Shard {
                whole: histogram(),
                recent: histogram(),
                total: 0,
            })
        };
        Recorder {
            shards: (0..shards.max(1)).map(|_| shard()).collect(),
            window: OnceLock::new(),
            last: AtomicU64::new(0),
            silence_max: AtomicU64::new(0),
        }
    }

    /// Measures from the first to before the second of these, in nanoseconds of the run's clock.
    pub fn open(&self, window: (u64, u64)) {
        self.last.store(window.0, Ordering::Relaxed);
        let _ = self.window.set(window);
    }

    /// Records events that all ended `now`, by when each began.
    pub fn record(&self, shard: usize, now: u64, begins: impl Iterator<Item = u64>) {
        let mut shard = self.shards[shard % self.shards.len()].lock();
        let shard = &mut *shard;
        let window = self.window.get();
        let in_window = window.is_some_and(|(from, to)| now >= *from && now < *to);
        for begin in begins {
            let micros = (now.saturating_sub(begin) / 1_000).clamp(1, LATENCY_US_MAX);
            shard.total += 1;
            shard.recent.saturating_record(micros);
            if in_window {
                shard.whole.saturating_record(micros);
            }
        }
        if in_window {
            let silence = now.saturating_sub(self.last.fetch_max(now, Ordering::Relaxed));
            self.silence_max.fetch_max(silence, Ordering::Relaxed);
        }
    }

    /// What was seen since the last call.
    pub fn recent(&self) -> Recent {
        let mut recent = Recent {
            latency_us: histogram(),
            total: 0,
        };
        for shard in &self.shards {
            let mut shard = shard.lock();
            // Both have the same bounds.
            let _ = recent.latency_us.add(&shard.recent);
            shard.recent.reset();
            recent.total += shard.total;
        }
        recent
    }

    /// Latencies of the whole window, in microseconds.
    pub fn whole(&self) -> Histogram<u64> {
        let mut whole = histogram();
        for shard in &self.shards {
            let _ = whole.add(&shard.lock().whole);
        }
        whole
    }

    /// The longest time without an event, in nanoseconds.
    pub fn silence_max(&self) -> u64 {
        let end = self.window.get().map_or(0, |window| window.1);
        let since_last = end.saturating_sub(self.last.load(Ordering::Relaxed));
        self.silence_max.load(Ordering::Relaxed).max(since_last)
    }
}

/// Refusals by code, and publishes whose outcome never came.
#[derive(Debug, Default)]
pub struct Failures {
    by_code: Mutex<BTreeMap<String, u64>>,
    /// Their connection ended first.
    pub unknown: AtomicU64,
}

impl Failures {
    /// Counts one. Says whether it is the first of its kind.
    pub fn add(&self, code: &str) -> bool {
        let mut by_code = self.by_code.lock();
        let count = by_code.entry(code.to_owned()).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// All of them.
    pub fn by_code(&self) -> BTreeMap<String, u64> {
        self.by_code.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_measured_and_silence_is_seen() {
        const MS: u64 = 1_000_000;
        let recorder = Recorder::new(2);
        recorder.open((10 * MS, 100 * MS));
        recorder.record(0, 5 * MS, [MS].into_iter());
        recorder.record(1, 20 * MS, [10 * MS, 19 * MS].into_iter());
        recorder.record(0, 60 * MS, [58 * MS].into_iter());
        let whole = recorder.whole();
        assert_eq!(whole.len(), 3);
        assert_eq!(whole.max(), whole.highest_equivalent(10_000));
        assert_eq!(recorder.silence_max(), 40 * MS);
        let recent = recorder.recent();
        assert_eq!((recent.total, recent.latency_us.len()), (4, 4));
        assert_eq!(recorder.recent().latency_us.len(), 0);
    }
}
