//! What a seed decides before anything runs: the shape of the cluster, its load, and which faults it meets.

use std::time::Duration;

use highwater_cluster::Sizes;
use highwater_storage::log::LogOptions;
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The parameters of one simulation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// Shards of the cluster, each with a replica on all three nodes.
    pub shards: u32,
    /// How long faults are made; then everything is repaired and must come to rest.
    pub faults_for: Duration,
    /// Tasks that publish.
    pub publishers: u32,
    /// Tasks that subscribe.
    pub subscribers: u32,
    /// Tasks that read and describe topics.
    pub readers: u32,
    /// The longest pause of a publisher between two calls.
    pub publish_pause_max: Duration,
    /// The largest filler of a message, in bytes.
    pub filler_bytes_max: usize,
    /// The longest way of a message between two nodes.
    pub message_latency_max: Duration,
    /// The longest sync of a healthy disk.
    pub sync_latency_max: Duration,
    /// How far the nodes' clocks are off, each its own, in milliseconds.
    pub clock_skew_ms: [u64; 3],
    /// The mean pause between two faults.
    pub fault_pause: Duration,
    /// How likely a message of the network is lost, which hangs its connection.
    pub message_loss: f64,
    /// Whether a crash also flips bits of what was not synced.
    pub flips: bool,
    /// Bytes of one file of the log.
    pub segment_bytes: u64,
    /// Bytes of the log's cache.
    pub cache_bytes: usize,
    /// Bytes applied between two checkpoints.
    pub checkpoint_bytes: usize,
    /// The longest time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Bytes of log kept for those who were away.
    pub log_bytes_kept: u64,
}

impl Settings {
    /// What follows from the seed.
    pub fn from_seed(seed: u64) -> Settings {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x5e77_1265);
        let ms = Duration::from_millis;
        // One seed in eight meets no fault at all but delays: what fails there is easy to read.
        let calm = random.random_ratio(1, 8);
        Settings {
            seed,
            shards: random.random_range(1..=3),
            faults_for: ms(random.random_range(5_000..15_000)),
            publishers: random.random_range(2..=5),
            subscribers: random.random_range(2..=5),
            readers: random.random_range(1..=2),
            publish_pause_max: ms(*pick(&mut random, &[8, 25, 80])),
            filler_bytes_max: *pick(&mut random, &[16, 200, 2_000]),
            message_latency_max: ms(*pick(&mut random, &[2, 8, 40])),
            sync_latency_max: ms(*pick(&mut random, &[2, 10, 60])),
            clock_skew_ms: std::array::from_fn(|_| random.random_range(0..5_000)),
            fault_pause: match calm {
                true => ms(3_600_000),
                false => ms(random.random_range(150..900)),
            },
            message_loss: match calm {
                true => 0.0,
                false => *pick(&mut random, &[0.0, 0.0, 0.000_2, 0.002]),
            },
            flips: random.random(),
            segment_bytes: *pick(&mut random, &[8 << 10, 32 << 10, 256 << 10]),
            cache_bytes: *pick(&mut random, &[0, 16 << 10, 1 << 20]),
            checkpoint_bytes: *pick(&mut random, &[2 << 10, 32 << 10, 1 << 20]),
            checkpoint_interval: ms(*pick(&mut random, &[300, 2_000, 30_000])),
            log_bytes_kept: *pick(&mut random, &[16 << 10, 64 << 10, 1 << 30]),
        }
    }

    /// The sizes the cluster is started with.
    pub fn sizes(&self, node: u64) -> Sizes {
        Sizes {
            log: LogOptions {
                segment_bytes: self.segment_bytes,
                cache_bytes_max: self.cache_bytes,
                salt_seed: self.seed ^ node,
                ..LogOptions::default()
            },
            checkpoint_bytes: self.checkpoint_bytes,
            checkpoint_interval: self.checkpoint_interval,
            log_bytes_kept: self.log_bytes_kept,
            erasure_interval: self.checkpoint_interval * 4,
        }
    }
}

/// One of several, each as likely.
pub fn pick<'a, T>(random: &mut SmallRng, from: &'a [T]) -> &'a T {
    &from[random.random_range(0..from.len())]
}
