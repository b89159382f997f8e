//! The list of workloads. Each file says at its top what it measures and what must be reached.

use anyhow::{Result, bail};

use crate::{Scale, row::Row};

mod cold_start;
mod connections;
mod delivery;
mod doors;
mod failover;
mod fan_out;
mod hand_over;
mod idle;
mod neighbours;
mod one_at_a_time;
mod open_loop;
mod pipelined;
mod provisioning;
mod qos_1;
mod replay;
mod side_by_side;
mod silence;
mod topics;
mod turns;

/// All workloads, in the order they run.
pub const NAMES: &[&str] = &[
    pipelined::NAME,
    one_at_a_time::NAME,
    topics::NAME,
    open_loop::NAME,
    delivery::NAME,
    fan_out::NAME,
    replay::NAME,
    idle::NAME,
    failover::NAME,
    hand_over::NAME,
    cold_start::NAME,
    connections::NAME,
    doors::NAME,
    qos_1::NAME,
    neighbours::NAME,
    provisioning::NAME,
];

/// Runs one.
///
/// # Errors
/// When it cannot be run; a figure that is not reached is no error.
pub async fn run(name: &str, scale: Scale) -> Result<Vec<Row>> {
    match name {
        pipelined::NAME => pipelined::run(scale).await,
        one_at_a_time::NAME => one_at_a_time::run(scale).await,
        topics::NAME => topics::run(scale).await,
        open_loop::NAME => open_loop::run(scale).await,
        delivery::NAME => delivery::run(scale).await,
        fan_out::NAME => fan_out::run(scale).await,
        replay::NAME => replay::run(scale).await,
        idle::NAME => idle::run(scale).await,
        failover::NAME => failover::run(scale).await,
        hand_over::NAME => hand_over::run(scale).await,
        cold_start::NAME => cold_start::run(scale).await,
        connections::NAME => connections::run(scale).await,
        neighbours::NAME => neighbours::run(scale).await,
        provisioning::NAME => provisioning::run(scale).await,
        doors::NAME => doors::run(scale).await,
        qos_1::NAME => qos_1::run(scale).await,
        _ => bail!("no such workload"),
    }
}
