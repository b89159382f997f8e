//! All three nodes are killed and started again with 100,000 topics on disk: every shard takes publishes within 5 s.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use highwater_e2e::{client::retry, cluster::Setup};
use tonic::Status;

use super::idle::make_topics;
use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "cold-start";

/// Enough projects that every one of the 64 shards has some.
const PROJECTS: usize = 1_000;

const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let topics = if scale.is_quick { 5_000 } else { 100_000 };
    let setup = Setup {
        projects: PROJECTS,
        ..Setup::default()
    };
    let mut cluster = highwater(setup).await;
    make_topics(&cluster, PROJECTS, topics).await?;
    let mut slowest: f64 = 0.0;
    for _ in 0..scale.rounds {
        cluster.kill_together(&[0, 1, 2]).await;
        let start = Instant::now();
        cluster.start_all();
        let publishes = (0..PROJECTS).map(async |project| {
            let client = cluster.client_of(project % 3, project);
            retry("a project takes publishes", async || {
                let attempt = client.publish("devices/0/state", "again");
                // An attempt that waits for a leader must not hide that there is one by now.
                match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Status::deadline_exceeded("no answer")),
                }
            })
            .await
        });
        for outcome in join_all(publishes).await {
            outcome?;
        }
        slowest = slowest.max(start.elapsed().as_secs_f64());
    }
    let note = format!(
        "{slowest:.2} s until all {PROJECTS} projects took a publish, the slowest of {}",
        scale.rounds
    );
    Ok(vec![
        Row::note(&format!("cold start, {topics} topics"), "highwater", note)
            .with_goal("≤ 5 s", slowest <= 5.0),
    ])
}
