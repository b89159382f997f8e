//! The leader of a topic is stopped in order under load: at most 100 ms without an ack, and no error at a client.

use anyhow::Result;
use highwater_e2e::cluster::Setup;

use super::silence::Watch;
use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "hand-over";

const TOPIC: &str = "hand-over";

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 2 } else { 10 };
    let mut cluster = highwater(Setup::default()).await;
    let (mut silences, mut errors) = (Vec::new(), 0);
    for _ in 0..count {
        let leader = cluster.leader(TOPIC).await;
        let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
        // Clients of the stopping node are told to go; these are at the nodes that take over.
        let watch = Watch::start(others.iter().map(|node| cluster.client(*node)), TOPIC);
        watch.more_acks(50).await;
        cluster.stop(leader).await;
        watch.more_acks(50).await;
        let watched = watch.finish().await;
        silences.push(watched.longest_ms);
        errors += watched.errors;
        cluster.restart(leader).await;
    }
    silences.sort_by(f64::total_cmp);
    let worst = silences[count - 1];
    let note = format!(
        "silence: median {:.0} ms, longest {worst:.0} ms of {count}; {errors} errors",
        silences[count / 2]
    );
    Ok(vec![Row::note("hand-over", "highwater", note).with_goal(
        "≤ 100 ms, no error",
        worst <= 100.0 && errors == 0,
    )])
}
