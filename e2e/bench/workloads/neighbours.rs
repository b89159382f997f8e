//! One tenant floods at ten times its quota beside another one, whose acks are timed.
//!
//! The other's p99 with the flood is at most 1.5 times that without it. Both are measured in turns, on the same cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use highwater_e2e::{Client, Cluster, cluster::Setup, eventually};
use highwater_proto::control::{Project, Quotas};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tonic::Code;

use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "neighbours";

/// What the flooding tenant may publish, a second.
const QUOTA: u64 = 500;
/// How many times of that it tries.
const TIMES: u64 = 10;
/// Clients that flood.
const FLOODERS: u64 = 20;
/// What the other one publishes, a second.
const STEADY: u64 = 200;
/// Turns of each.
const TURNS: usize = 3;
const FLOODING: usize = 0;
const QUIET: usize = 1;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let cluster = highwater(Setup::default()).await;
    let limit = |project: &mut Project| {
        project.quotas = Some(Quotas {
            publish_messages_per_second: QUOTA,
            ..Quotas::default()
        });
    };
    cluster.edit_project(FLOODING, limit).await;
    eventually("the quota is known", async || {
        let client = cluster.client_of(0, FLOODING);
        let burst = (0..2 * QUOTA).map(|_| client.publish("flood", "x"));
        let outcomes = futures_util::future::join_all(burst).await;
        outcomes.into_iter().any(|outcome| outcome.is_err())
    })
    .await;
    let pause = Duration::from_secs_f64(scale.seconds);
    let (mut alone, mut beside) = (Histogram::new(3)?, Histogram::new(3)?);
    let flood = Flood::default();
    // Clients connect with their first publish, which is not to be measured.
    steady(&cluster, Duration::from_secs(2)).await?;
    for _ in 0..TURNS {
        alone.add(steady(&cluster, pause).await?)?;
        let mut flooders = flood.start(&cluster);
        // Until the quota's burst is used up.
        sleep(Duration::from_secs(2)).await;
        beside.add(steady(&cluster, pause).await?)?;
        flood.is_over.store(true, Ordering::Relaxed);
        while flooders.join_next().await.is_some() {}
        flood.is_over.store(false, Ordering::Relaxed);
    }
    let micros = |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    let row = |times: &Histogram<u64>, note: String| Row {
        p50_us: Some(micros(times, 0.5)),
        p99_us: Some(micros(times, 0.99)),
        p999_us: Some(micros(times, 0.999)),
        ..Row::note("neighbours", "highwater", note)
    };
    let ratio = micros(&beside, 0.99) / micros(&alone, 0.99);
    let tried = flood.taken.load(Ordering::Relaxed) + flood.refused.load(Ordering::Relaxed);
    let refused = flood.refused.load(Ordering::Relaxed);
    let note = format!("beside a flood, {ratio:.2} times; {refused} of {tried} were refused");
    Ok(vec![
        row(&alone, "alone".to_owned()),
        row(&beside, note).with_goal("p99 ≤ 1.5 times", ratio <= 1.5),
    ])
}

/// Publishes at a steady pace for a while, and times the acks in nanoseconds.
async fn steady(cluster: &Cluster, pause: Duration) -> Result<Histogram<u64>> {
    let clients: Vec<Client> = (0..cluster.size())
        .map(|node| cluster.client_of(node, QUIET))
        .collect();
    let mut times = Histogram::new(3)?;
    let mut ticks = interval(Duration::from_secs(1) / STEADY as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut publishes = JoinSet::new();
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < pause {
        // From when it was due, not from when somebody came to it.
        let due = ticks.tick().await.into_std();
        let client = clients[number % clients.len()].clone();
        number += 1;
        publishes.spawn(async move {
            client.publish("steady", "x").await?;
            Ok::<_, tonic::Status>(due.elapsed())
        });
    }
    while let Some(took) = publishes.join_next().await {
        times.record(took??.as_nanos() as u64)?;
    }
    Ok(times)
}

/// Clients that try more than they may.
#[derive(Default)]
struct Flood {
    taken: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Flood {
    fn start(&self, cluster: &Cluster) -> JoinSet<()> {
        let mut flooders = JoinSet::new();
        for number in 0..FLOODERS {
            let client = cluster.client_of(number as usize % cluster.size(), FLOODING);
            let (taken, refused) = (self.taken.clone(), self.refused.clone());
            let is_over = self.is_over.clone();
            flooders.spawn(async move {
                let pace = Duration::from_secs(1) * FLOODERS as u32 / (QUOTA * TIMES) as u32;
                let mut ticks = interval(pace);
                while !is_over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    match client.publish("flood", "x").await {
                        Ok(_) => taken.fetch_add(1, Ordering::Relaxed),
                        Err(status) => {
                            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
        flooders
    }
}
