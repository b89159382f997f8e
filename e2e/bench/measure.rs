//! One measurement: a load, and what the servers used while it ran.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use highwater_e2e::{process::Pid, report::LoadReport, usage::Usage};
use serde_json::Value;

/// What a load reached and what it cost.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What the load generator says.
    pub load: LoadReport,
    /// What all servers used meanwhile.
    pub usage: Usage,
    /// How many servers there are.
    pub servers: usize,
    /// Everything the load generator printed.
    pub json: Value,
}

/// Runs a load generator to its end beside these servers.
///
/// # Errors
/// When it fails, or prints no report.
pub async fn measure(servers: &[Pid], load: Command) -> Result<Measured> {
    let before = Usage::of(servers)?;
    let json = run(load).await?;
    let usage = Usage::of(servers)? - before;
    Ok(Measured {
        load: parse(&json)?,
        usage,
        servers: servers.len(),
        json,
    })
}

/// Runs a load generator to its end, and returns the line of JSON it prints.
///
/// # Errors
/// When it fails.
pub async fn run(load: Command) -> Result<Value> {
    let mut load = tokio::process::Command::from(load);
    load.stdin(Stdio::null()).kill_on_drop(true);
    let output = load.output().await.context("the load generator")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the load generator failed: {errors}"
    );
    serde_json::from_slice(&output.stdout).context("the report of the load generator")
}

/// Reads the report of the rivals' generators, or that of `highwater bench`.
fn parse(json: &Value) -> Result<LoadReport> {
    let Some(latency) = json.get("ack_latency_us") else {
        return Ok(serde_json::from_value(json.clone())?);
    };
    let number = |value: &Value| value.as_f64().context("a number in the report");
    Ok(LoadReport {
        messages: json["messages"]
            .as_u64()
            .context("messages in the report")?,
        seconds: number(&json["seconds"])?,
        p50_us: number(&latency["p50"])?,
        p99_us: number(&latency["p99"])?,
        p999_us: number(&latency["p999"])?,
    })
}

/// The measurement in the middle by rate.
///
/// # Panics
/// When there is none.
pub fn middle(mut rounds: Vec<Measured>) -> Measured {
    rounds.sort_by(|a, b| a.load.rate().total_cmp(&b.load.rate()));
    rounds.swap_remove(rounds.len() / 2)
}
