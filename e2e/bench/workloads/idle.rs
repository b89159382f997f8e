//! 100,000 topics of 1,000 projects, then silence.
//!
//! Idle: under 3 % of a core a node, growth under 1 KiB of memory a topic and node. The first publish to
//! a cold topic, one of those 100,000 that nobody has touched since, is as quick as the next one to it.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use highwater_e2e::{
    Client, Cluster,
    client::{request, retry},
    cluster::Setup,
    usage::Usage,
};

use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "idle";

/// Time until what was written is in a checkpoint, at the latest, and some more.
const CHECKPOINTED: Duration = Duration::from_secs(35);

/// Makes topics, evenly over all projects, with one record each.
pub async fn make_topics(cluster: &Cluster, projects: usize, topics: usize) -> Result<()> {
    let each = topics / projects;
    let jobs = stream::iter(0..projects).map(Ok::<_, anyhow::Error>);
    jobs.try_for_each_concurrent(16, async |project| {
        let client = cluster.client_of(project % cluster.size(), project);
        let publishes = (0..each).map(|topic| request(&topic_name(topic), "first", ""));
        client.publish_requests(publishes, 100).await?;
        Ok(())
    })
    .await
}

fn topic_name(number: usize) -> String {
    format!("devices/{number}/state")
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let (projects, topics) = match scale.is_quick {
        true => (100, 5_000),
        false => (1_000, 100_000),
    };
    let setup = Setup {
        projects,
        ..Setup::default()
    };
    let cluster = highwater(setup).await;
    let nodes = cluster.size() as f64;
    let each = topics / projects;
    // One topic a project, so that what a project costs is not counted as a topic's.
    make_topics(&cluster, projects, projects).await?;
    let before = settled(&cluster).await?;
    make_topics(&cluster, projects, topics).await?;
    let after = settled(&cluster).await?;
    let growth = after.resident_bytes.saturating_sub(before.resident_bytes) as f64;
    let per_topic = growth / (topics - projects) as f64 / nodes;

    if !scale.is_quick {
        // Writing a checkpoint of what was made is not idling.
        tokio::time::sleep(CHECKPOINTED).await;
    }
    let pause = Duration::from_secs_f64(2.0 * scale.seconds);
    let start = Usage::of(&cluster.pids())?;
    tokio::time::sleep(pause).await;
    let used = Usage::of(&cluster.pids())? - start;
    let share = used.cpu_us / pause.as_micros() as f64 / nodes * 100.0;

    let mut times = Times::new()?;
    for number in 0..300 {
        // All over the projects, and so over the shards, which are as quiet.
        let client = cluster.client_of(0, number * 7 % projects);
        times
            .publish(&client, &topic_name(number * 13 % each))
            .await?;
    }
    let Times { cold, warm } = times;
    let ratio = cold.value_at_quantile(0.5) as f64 / warm.value_at_quantile(0.5) as f64;

    let workload = format!("idle, {topics} topics of {projects} projects");
    let times = |times: &Histogram<u64>, what| Row {
        p50_us: Some(times.value_at_quantile(0.5) as f64 / 1e3),
        p99_us: Some(times.value_at_quantile(0.99) as f64 / 1e3),
        ..Row::note(&workload, "highwater", what)
    };
    Ok(vec![
        Row::note(
            &workload,
            "highwater",
            format!("{share:.2} % of a core a node"),
        )
        .with_goal("< 3 %", share < 3.0),
        Row {
            resident_mib: Some(after.resident_bytes as f64 / f64::from(1 << 20)),
            ..Row::note(
                &workload,
                "highwater",
                format!("{per_topic:.0} bytes a topic and node"),
            )
        }
        .with_goal("< 1024", per_topic < 1024.0),
        times(&warm, "publish to a warm topic"),
        times(&cold, "first publish to a cold topic").with_goal("≤ 1.25 × warm", ratio <= 1.25),
    ])
}

/// What the nodes use once they have been quiet for a while. Nodes that never are quiet are taken as
/// they are: how much they do is a figure of its own.
async fn settled(cluster: &Cluster) -> Result<Usage> {
    let mut last = Usage::of(&cluster.pids())?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = Usage::of(&cluster.pids())?;
        let is_quiet = (now - last).cpu_us < 50_000.0;
        last = now;
        if is_quiet {
            break;
        }
    }
    Ok(last)
}

/// How long the first publish to a topic takes, and the second.
struct Times {
    cold: Histogram<u64>,
    warm: Histogram<u64>,
}

impl Times {
    fn new() -> Result<Times> {
        Ok(Times {
            cold: Histogram::new(3)?,
            warm: Histogram::new(3)?,
        })
    }

    async fn publish(&mut self, client: &Client, topic: &str) -> Result<()> {
        // The client connects with its first request, which is not to be measured.
        let _ = client.topic("connect").await;
        for times in [&mut self.cold, &mut self.warm] {
            let start = Instant::now();
            retry("publishing", async || client.publish(topic, "x").await).await?;
            times.record(start.elapsed().as_nanos() as u64)?;
        }
        Ok(())
    }
}
