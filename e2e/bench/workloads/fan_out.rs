//! One publisher to 1,000 gRPC subscribers of its topic: each record is encoded once for all of them.
//!
//! The counter of encoded records proves it: over all nodes it grows by at least one for each message, and by
//! at most one for each message and node, however many subscribers there are.

use anyhow::{Context, Result};
use highwater_e2e::{Cluster, cluster::Setup};

use crate::{
    Scale,
    contender::{highwater, highwater_load},
    measure::measure,
    row::Row,
};

pub const NAME: &str = "fan-out";

const SUBSCRIBERS: usize = 1_000;
/// Messages per second: a rate at which 1,000 clients on the same cores can follow.
const RATE: f64 = 200.0;

async fn encoded(cluster: &Cluster) -> f64 {
    let mut sum = 0.0;
    for node in 0..cluster.size() {
        sum += cluster
            .metric(node, "highwater_delivery_encoded_records_total")
            .await;
    }
    sum
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let cluster = highwater(Setup::default()).await;
    let mut rows = Vec::new();
    for (name, rate) in [("paced", RATE), ("as fast as it goes", 0.0)] {
        let before = encoded(&cluster).await;
        let mut load = highwater_load(&cluster, scale.seconds);
        load.args(["--publishers", "1", "--in-flight", "64"])
            .args(["--subscribers", &SUBSCRIBERS.to_string()])
            .args(["--rate", &rate.to_string()]);
        let measured = measure(&cluster.pids(), load).await?;
        let encoded = encoded(&cluster).await - before;
        let deliveries = &measured.json["deliveries"];
        let rate = deliveries["records_per_second"].as_f64();
        let rate = rate.context("deliveries in the report")?;
        let per_delivery = measured.usage.cpu_us / (rate * measured.load.seconds);
        let latency = |quantile: &str| deliveries["latency_us"][quantile].as_f64();
        let messages = measured.load.messages as f64;
        let shared = rate * measured.load.seconds / encoded;
        let note = format!(
            "deliveries; {per_delivery:.2} µs CPU each; {encoded:.0} encodings of {messages:.0} messages, \
             each for {shared:.0} deliveries"
        );
        // Those in flight at the end of the window are encoded too, and not counted.
        let is_once = (messages..=3.0 * (messages + 128.0)).contains(&encoded);
        rows.push(
            Row {
                per_second: Some(rate),
                p50_us: latency("p50"),
                p99_us: latency("p99"),
                p999_us: latency("p999"),
                ..Row::note(&format!("1 → {SUBSCRIBERS}, {name}"), "highwater", note)
            }
            .with_goal("encoded once a node", is_once),
        );
    }
    Ok(rows)
}
