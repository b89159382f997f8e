//! Half of the highest pipelined rate (128 B), sent on time whatever the server does.
//!
//! The 99th percentile of acks, counted from when each message was due, is at most 20 ms above that of the
//! disk's own fdatasync.

use std::time::Duration;

use anyhow::Result;
use highwater_e2e::cluster::Setup;

use crate::{
    Scale,
    contender::{highwater, highwater_load},
    disk::fsync_p99_us,
    measure::{measure, middle},
    row::Row,
};

pub const NAME: &str = "open-loop";

const SIZE: usize = 128;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let cluster = highwater(Setup::default()).await;
    let mut highest = Vec::new();
    for _ in 0..scale.rounds {
        highest.push(measure(&cluster.pids(), highwater_load(&cluster, scale.seconds)).await?);
    }
    let highest = middle(highest);
    let half = (highest.load.rate() / 2.0).round();
    let fsync_p99_us = fsync_p99_us(cluster.folder(), Duration::from_secs(3))?;
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds {
        let mut load = highwater_load(&cluster, 2.0 * scale.seconds);
        load.args(["--rate", &half.to_string()]);
        rounds.push(measure(&cluster.pids(), load).await?);
    }
    let measured = middle(rounds);
    let p99_us = measured.load.p99_us;
    let note = format!(
        "of {:.0}/s; fdatasync p99 {fsync_p99_us:.0} µs",
        highest.load.rate()
    );
    Ok(vec![
        Row::of_load("open loop, half rate", "highwater", &measured, SIZE)
            .with_note(note)
            .with_goal(
                "p99 ≤ 20 ms + fdatasync's",
                p99_us <= 20_000.0 + fsync_p99_us,
            ),
    ])
}
