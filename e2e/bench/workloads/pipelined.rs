//! 64 publishers with 64 messages in flight each, on one topic.
//!
//! 128 B: 150,000 msgs/s or more, ahead of NATS R3 with its un-synced default in the same run, at most 6 µs of
//! CPU a message over all three nodes. 1 KiB: 60,000 msgs/s or more, at most 2.2 bytes written per
//! payload byte and replica.

use anyhow::Result;

use super::side_by_side::{self, rate_of};
use crate::{
    Scale,
    contender::{Contender, Shape},
    row::Row,
};

pub const NAME: &str = "pipelined";

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let contenders = Contender::start_all(scale).await;
    let mut rows = Vec::new();
    for (size, rate_goal) in [(128, 150_000.0), (1_024, 60_000.0)] {
        let workload = format!("{NAME} {size} B");
        let shape = Shape {
            publishers: 64,
            in_flight: 64,
            size,
        };
        let outcomes = side_by_side::run(&contenders, shape, scale).await?;
        let nats = rate_of(&outcomes, "nats R3, default").unwrap_or(0.0);
        for outcome in &outcomes {
            let row = Row::of_load(&workload, &outcome.contender, &outcome.measured, size);
            if outcome.contender != "highwater" {
                rows.push(row);
                continue;
            }
            let rate = outcome.measured.load.rate();
            let (cpu, written) = (row.cpu_us_per_message, row.written_per_payload_byte);
            let ahead = format!("≥ {rate_goal:.0}/s and NATS's {nats:.0}/s");
            rows.push(row.with_goal(ahead, rate >= rate_goal && rate > nats));
            rows.push(match size {
                128 => Row::note(&workload, "highwater", "CPU of all nodes")
                    .with_goal("≤ 6 µs a message", cpu <= Some(6.0)),
                _ => Row::note(&workload, "highwater", "bytes written by a node")
                    .with_goal("≤ 2.2 per payload byte", written <= Some(2.2)),
            });
        }
    }
    Ok(rows)
}
