//! What one run of a load generator says about itself, the same for every contender.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Acknowledged messages and how long their acks took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Messages that were acknowledged.
    pub messages: u64,
    /// How long the load ran, in seconds.
    pub seconds: f64,
    /// Median time from sending to ack, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of it.
    pub p99_us: f64,
    /// 99.9th percentile of it.
    pub p999_us: f64,
}

impl LoadReport {
    /// The report of a run whose latencies were recorded in nanoseconds.
    pub fn new(latencies: &Histogram<u64>, elapsed: Duration) -> LoadReport {
        let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        LoadReport {
            messages: latencies.len(),
            seconds: elapsed.as_secs_f64(),
            p50_us: micros(0.50),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
        }
    }

    /// Acknowledged messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}
