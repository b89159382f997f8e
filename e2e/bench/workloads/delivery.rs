//! From a publish on one node to its delivery on another, one message at a time.
//!
//! Nothing follows the message, so a follower that learned of commits with the next heartbeat (120 ms) would deliver
//! 60 ms late at the median; half of that must not be reached.

use std::time::Instant;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use highwater_e2e::{Client, cluster::Setup};

use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "delivery";

const TOPIC: &str = "delivery";
const LATE_US: f64 = 30_000.0;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 100 } else { 2_000 };
    let cluster = highwater(Setup::default()).await;
    let leader = cluster.leader(TOPIC).await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut rows = Vec::new();
    for (name, from, to) in [
        ("leader → follower", leader, first),
        ("follower → other follower", first, second),
        ("follower → leader", first, leader),
    ] {
        let (delivered, acked) = times(&cluster.client(from), &cluster.client(to), count).await?;
        let micros = |quantile| delivered.value_at_quantile(quantile) as f64 / 1e3;
        let note = format!(
            "to delivery; to the ack {:.0} µs at the median",
            acked.value_at_quantile(0.5) as f64 / 1e3
        );
        let row = Row {
            p50_us: Some(micros(0.5)),
            p99_us: Some(micros(0.99)),
            p999_us: Some(micros(0.999)),
            ..Row::note(&format!("delivery, {name}"), "highwater", note)
        };
        rows.push(row.with_goal("p50 < 30 ms", micros(0.5) < LATE_US));
    }
    Ok(rows)
}

/// How long deliveries took, and acks, in nanoseconds.
async fn times(
    publisher: &Client,
    subscriber: &Client,
    count: usize,
) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let (mut delivered, mut acked) = (Histogram::new(3)?, Histogram::new(3)?);
    let mut live = subscriber.subscribe(&[TOPIC], "latest").await?;
    for number in 0..count {
        let payload = format!("m#{number}");
        let start = Instant::now();
        let publish = async {
            publisher.publish(TOPIC, payload.clone()).await?;
            anyhow::Ok(start.elapsed())
        };
        let delivery = async {
            let records = live.records(1).await?;
            let took = start.elapsed();
            ensure!(records[0].payload == payload, "another record came first");
            anyhow::Ok(took)
        };
        let (ack, delivery) = tokio::try_join!(publish, delivery)?;
        acked.record(ack.as_nanos() as u64)?;
        delivered.record(delivery.as_nanos() as u64)?;
    }
    Ok((delivered, acked))
}
