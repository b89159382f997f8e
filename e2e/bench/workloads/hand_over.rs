//! The leader of a topic is stopped in order under load: at most 100 ms without an ack, and no error at a client.
//!
//! Clients of the other nodes notice nothing. Those of the stopping node have to leave it; a publish of its own
//! kind is told so by an error at most, so each of them may have one, and has its next ack elsewhere as soon.

use anyhow::Result;
use highwater_e2e::cluster::Setup;

use super::silence::{Watch, Watched};
use crate::{Scale, contender::highwater, row::Row};

pub const NAME: &str = "hand-over";

const TOPIC: &str = "hand-over";

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 2 } else { 10 };
    let mut cluster = highwater(Setup::default()).await;
    let (mut elsewhere, mut here) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let leader = cluster.leader(TOPIC).await;
        let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
        let others = others.iter().map(|node| vec![cluster.client(*node)]);
        let others: Vec<_> = others.collect();
        let leaving = [vec![cluster.client(leader)], others.concat()].concat();
        let watches = [
            Watch::start(others.into_iter(), TOPIC),
            Watch::start([leaving].into_iter(), TOPIC),
        ];
        for watch in &watches {
            watch.more_acks(50).await;
        }
        cluster.stop(leader).await;
        for watch in &watches {
            watch.more_acks(50).await;
        }
        let [of_others, of_leader] = watches;
        elsewhere.push(of_others.finish().await);
        here.push(of_leader.finish().await);
        cluster.restart(leader).await;
    }
    let none = |_: usize| 0;
    let one = |publishers: usize| publishers as u64;
    Ok(vec![
        row(
            "hand-over, clients of other nodes",
            elsewhere,
            "no error",
            none,
        ),
        row(
            "hand-over, clients of the node that stops",
            here,
            "≤ 1 error a client",
            one,
        ),
    ])
}

fn row(
    workload: &str,
    mut watched: Vec<Watched>,
    allowed: &str,
    errors_max: impl Fn(usize) -> u64,
) -> Row {
    watched.sort_by(|a, b| a.longest_ms.total_cmp(&b.longest_ms));
    let count = watched.len();
    let worst = watched[count - 1].longest_ms;
    let errors: u64 = watched.iter().map(|w| w.errors).sum();
    let is_met = worst <= 100.0 && watched.iter().all(|w| w.errors <= errors_max(w.publishers));
    let note = format!(
        "silence: median {:.0} ms, longest {worst:.0} ms of {count}; {errors} errors of {} clients",
        watched[count / 2].longest_ms,
        watched[0].publishers * count
    );
    Row::note(workload, "highwater", note).with_goal(format!("≤ 100 ms, {allowed}"), is_met)
}
