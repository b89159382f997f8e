//! Publishers that wait for each ack before the next message; 128 B, one topic.
//!
//! One publisher: at least 65 % of the bound's rate, p99 at most 2.5 times the bound's. 64 publishers: 30,000 msgs/s.

use anyhow::Result;

use super::side_by_side::{self, Outcome, find};
use crate::{
    Scale,
    contender::{Contender, Shape},
    row::Row,
};

pub const NAME: &str = "one-at-a-time";

const SIZE: usize = 128;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let contenders = Contender::start_all(scale).await;
    let mut rows = Vec::new();
    for publishers in [1, 64] {
        let workload = format!("{publishers} × one at a time");
        let shape = Shape {
            publishers,
            in_flight: 1,
            size: SIZE,
        };
        let outcomes = side_by_side::run(&contenders, shape, scale).await?;
        for outcome in &outcomes {
            let row = Row::of_load(&workload, &outcome.contender, &outcome.measured, SIZE);
            rows.push(match (outcome.contender.as_str(), publishers) {
                ("highwater", 1) => against_the_bound(row, outcome, &outcomes),
                ("highwater", _) => {
                    let rate = outcome.measured.load.rate();
                    row.with_goal("≥ 30000/s", rate >= 30_000.0)
                }
                _ => row,
            });
        }
    }
    Ok(rows)
}

fn against_the_bound(row: Row, own: &Outcome, outcomes: &[Outcome]) -> Row {
    let Some(bound) = find(outcomes, "bound") else {
        return row;
    };
    let rate = own.measured.load.rate() / bound.load.rate();
    let p99 = own.measured.load.p99_us / bound.load.p99_us;
    row.with_note(format!(
        "{:.0} % of the bound, p99 × {p99:.1}",
        rate * 100.0
    ))
    .with_goal("≥ 65 %, p99 ≤ × 2.5", rate >= 0.65 && p99 <= 2.5)
}
