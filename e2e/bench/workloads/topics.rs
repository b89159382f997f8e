//! The pipelined load (128 B) spread over 1, 16, 1,000 and 100,000 topics: each at 0.9 of one topic's rate or more.

use anyhow::Result;
use highwater_e2e::cluster::Setup;

use crate::{
    Scale,
    contender::{highwater, highwater_load},
    measure::{Measured, measure, middle},
    row::Row,
};

pub const NAME: &str = "topics";

const SIZE: usize = 128;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let cluster = highwater(Setup::default()).await;
    let counts = match scale.is_quick {
        true => [1, 16, 1_000, 10_000],
        false => [1, 16, 1_000, 100_000],
    };
    let mut rounds: Vec<Vec<Measured>> = counts.iter().map(|_| Vec::new()).collect();
    for round in 0..=scale.rounds {
        for (count, measured) in counts.iter().zip(&mut rounds) {
            let mut load = highwater_load(&cluster, scale.seconds);
            // The same topics each round: the first one makes them.
            load.args(["--topics", &count.to_string()])
                .args(["--prefix", &format!("of-{count}")]);
            let outcome = measure(&cluster.pids(), load).await?;
            if round > 0 {
                measured.push(outcome);
            }
        }
    }
    let middles: Vec<Measured> = rounds.into_iter().map(middle).collect();
    let one = middles[0].load.rate();
    let rows = counts.iter().zip(&middles).map(|(count, measured)| {
        let share = measured.load.rate() / one;
        Row::of_load(&format!("{count} topics"), "highwater", measured, SIZE)
            .with_note(format!("{:.0} % of one topic", share * 100.0))
            .with_goal("≥ 90 % of one topic", share >= 0.9)
    });
    Ok(rows.collect())
}
