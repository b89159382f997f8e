//! Reading back from the beginning over gRPC, 128 B records, from a disk that is cached.
//!
//! One topic: 500,000 records/s or more. One topic whose records lie among those of 10,000 others:
//! 300,000/s or more. The reader decodes every record, on the same cores.

use std::time::Instant;

use anyhow::{Result, ensure};
use highwater_e2e::{Cluster, cluster::Setup, process::Pid, usage::Usage};

use crate::{
    Scale,
    contender::{highwater, highwater_load},
    measure::run as run_load,
    row::Row,
};

pub const NAME: &str = "replay";

const SIZE: usize = 128;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let cluster = highwater(Setup::default()).await;
    let records = if scale.is_quick { 100_000 } else { 1_000_000 };
    let payload = "r".repeat(SIZE);
    let client = cluster.client(0);
    client
        .publish_stream_of("alone", &payload, records, 500)
        .await?;
    let alone = replay(&cluster, "alone", records, scale).await?;

    // While it is written, 10,000 other topics of the same shard are as well.
    let others = async {
        let mut load = highwater_load(&cluster, scale.seconds);
        load.args(["--topics", "10000", "--prefix", "other"]);
        run_load(load).await
    };
    let interleaved = records / 5;
    let own = client.publish_stream_of("among", &payload, interleaved, 20);
    let (others, own) = tokio::join!(others, own);
    let others = others?["messages"].as_u64().unwrap_or(0);
    own?;
    let among = replay(&cluster, "among", interleaved, scale).await?;
    Ok(vec![
        row("replay", alone, 500_000.0, format!("{records} records")),
        row(
            "replay among 10,000",
            among,
            300_000.0,
            format!("{interleaved} records among {others}"),
        ),
    ])
}

fn row(workload: &str, (rate, cpu_us): (f64, f64), goal: f64, note: String) -> Row {
    Row {
        per_second: Some(rate),
        megabytes_per_second: Some(rate * SIZE as f64 / 1e6),
        cpu_us_per_message: Some(cpu_us),
        ..Row::note(workload, "highwater", note)
    }
    .with_goal(format!("≥ {goal:.0}/s"), rate >= goal)
}

/// Subscribes from the beginning, several times; the best rate and its CPU per record.
async fn replay(
    cluster: &Cluster,
    topic: &str,
    records: usize,
    scale: Scale,
) -> Result<(f64, f64)> {
    let pids: Vec<Pid> = cluster.pids();
    let mut best = (0.0, 0.0);
    for _ in 0..=scale.rounds {
        let before = Usage::of(&pids)?;
        let start = Instant::now();
        let mut subscription = cluster.client(1).subscribe(&[topic], "earliest").await?;
        let mut next_offset = 0;
        while next_offset < records as u64 {
            let response = subscription.next().await?;
            ensure!(response.gap.is_none(), "a gap: {:?}", response.gap);
            for record in &response.records {
                ensure!(record.offset == next_offset, "offset {}", record.offset);
                next_offset += 1;
            }
        }
        let rate = records as f64 / start.elapsed().as_secs_f64();
        let cpu_us = (Usage::of(&pids)? - before).cpu_us / records as f64;
        if rate > best.0 {
            best = (rate, cpu_us);
        }
    }
    Ok(best)
}
