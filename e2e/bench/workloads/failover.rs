//! The leader of a topic is killed 20 times and frozen 20 times under load, and publishers on the other nodes go on.
//!
//! The longest time without any ack is at most 1 s after a kill (99th percentile of 20, so all of them),
//! and at most 2 s where the leader is frozen with its sockets open.

use anyhow::Result;
use highwater_e2e::cluster::Setup;

use super::silence::Watch;
use crate::{Scale, contender::highwater, progress, row::Row};

pub const NAME: &str = "failover";

const TOPIC: &str = "failover";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Killed,
    Frozen,
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 3 } else { 20 };
    let mut rows = Vec::new();
    for (loss, goal_ms) in [(Loss::Killed, 1_000.0), (Loss::Frozen, 2_000.0)] {
        let mut silences = Vec::new();
        let mut cluster = highwater(Setup::default()).await;
        for number in 0..count {
            let leader = cluster.leader(TOPIC).await;
            let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
            let watch = Watch::start(others.iter().map(|node| vec![cluster.client(*node)]), TOPIC);
            watch.more_acks(50).await;
            match loss {
                Loss::Killed => cluster.kill(leader).await,
                Loss::Frozen => cluster.pid(leader).freeze(),
            }
            watch.more_acks(50).await;
            silences.push(watch.finish().await.longest_ms);
            match loss {
                Loss::Killed => cluster.restart(leader).await,
                Loss::Frozen => {
                    cluster.pid(leader).thaw();
                    cluster.ready(leader).await;
                }
            }
            progress(&format!("{loss:?} {number}: {:.0} ms", silences[number]));
        }
        silences.sort_by(f64::total_cmp);
        let (median, worst) = (silences[count / 2], silences[count - 1]);
        let note = format!("silence: median {median:.0} ms, longest {worst:.0} ms of {count}");
        rows.push(
            Row::note(
                &format!("leader {loss:?}").to_lowercase(),
                "highwater",
                note,
            )
            .with_goal(format!("≤ {goal_ms:.0} ms"), worst <= goal_ms),
        );
    }
    Ok(rows)
}
