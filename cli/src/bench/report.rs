//! The result of a run: JSON for scripts, a table for people.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// Seconds that were measured, after the warm-up.
    pub seconds: f64,
    /// Publishes acknowledged in that time.
    pub messages: u64,
    /// The same per second.
    pub messages_per_second: f64,
    /// Megabytes (10^6) of payload per second.
    pub megabytes_per_second: f64,
    /// From the moment a publish was due to its acknowledgement.
    pub ack_latency_us: Latency,
    /// The longest time in which no publish of any publisher was acknowledged.
    pub ack_silence_ms_max: f64,
    /// Publishes refused, by code; warm-up included, as are the next ones.
    pub refused: BTreeMap<String, u64>,
    /// Publishes whose outcome never came.
    pub unknown: u64,
    /// Acknowledged publishes that the topics do not hold; not checked with many topics.
    pub lost: Option<u64>,
    /// What subscribers got.
    pub deliveries: Option<Deliveries>,
    /// CPU time of the load generator itself, over the whole run.
    pub client_cpu_seconds: f64,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Settings {
    pub servers: Vec<String>,
    pub connections: usize,
    pub publishers: usize,
    pub in_flight: usize,
    pub subscribers: usize,
    pub topics: usize,
    pub size: usize,
    /// Messages a second over all publishers; 0 is as many as possible.
    pub rate: f64,
    pub warmup_seconds: f64,
}

/// What subscribers got.
#[derive(Debug, Serialize)]
pub struct Deliveries {
    /// Records received in the time that was measured, over all subscribers.
    pub records: u64,
    /// The same per second.
    pub records_per_second: f64,
    /// From the moment a publish was due to its arrival; absent for payloads without room for a time.
    pub latency_us: Option<Latency>,
    /// Records that should have come and did not.
    pub missing: u64,
    /// Records that came again or out of order.
    pub repeated: u64,
    /// Gaps the server told of.
    pub gaps: u64,
}

/// A distribution, in microseconds.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    /// Of a histogram in microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        Latency {
            mean: (histogram.mean() * 10.0).round() / 10.0,
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }

    fn cells(&self) -> [String; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max].map(milliseconds)
    }
}

/// Microseconds as people read them.
pub fn milliseconds(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1_000.0)
}

/// The rate of a count, rounded to tenths.
pub fn per_second(count: u64, time: Duration) -> f64 {
    (count as f64 / time.as_secs_f64() * 10.0).round() / 10.0
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        let delivered = self.deliveries.as_ref();
        self.lost.unwrap_or(0) == 0
            && delivered.is_none_or(|d| d.missing == 0 && d.repeated == 0 && d.gaps == 0)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["", "per second", "p50", "p90", "p99", "p99.9", "max"]);
        let mut row = |name: &str, rate: f64, latency: Option<&Latency>| {
            let cells = latency.map(Latency::cells).unwrap_or_default();
            table.add_row([vec![name.to_owned(), format!("{rate:.0}")], cells.to_vec()].concat());
        };
        row(
            "acknowledged",
            self.messages_per_second,
            Some(&self.ack_latency_us),
        );
        if let Some(deliveries) = &self.deliveries {
            row(
                "delivered",
                deliveries.records_per_second,
                deliveries.latency_us.as_ref(),
            );
        }
        let mut text = format!("{table}\n{:.1} MB/s of payload", self.megabytes_per_second);
        text += &format!(", longest silence {:.0} ms", self.ack_silence_ms_max);
        text += &format!(", {:.1} s of CPU here\n", self.client_cpu_seconds);
        for (code, count) in &self.refused {
            text += &format!("refused: {count} × {code}\n");
        }
        if self.unknown > 0 {
            text += &format!("outcome unknown: {}\n", self.unknown);
        }
        if let Some(lost) = self.lost {
            text += &format!("acknowledged and not there: {lost}\n");
        }
        if let Some(d) = &self.deliveries {
            text += &format!(
                "deliveries missing: {}, repeated or out of order: {}, gaps told: {}\n",
                d.missing, d.repeated, d.gaps
            );
        }
        text
    }
}
