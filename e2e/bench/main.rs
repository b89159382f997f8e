//! The benchmark: Highwater and its rivals under the same loads, interleaved, in one table.
//!
//! ```text
//! make bench ARGS='[--only pipelined] [--json results.json] [--quick]'
//! ```
//! It builds all binaries first, because the rival programs are some of them.
//!
//! Each file of `workloads/` is one workload: what is run, what is measured and the figure it must
//! reach. Rates depend on what else the machine does; the ratio of contenders in one run, and CPU
//! and bytes per message, do much less.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Parser;

mod arrivals;
mod contender;
mod crowd;
mod descriptors;
mod disk;
mod door;
mod measure;
mod mqtt;
mod row;
mod service;
mod tls;
mod workloads;

use row::Row;

#[derive(Parser)]
struct Args {
    /// Only workloads whose name contains one of these.
    #[arg(long)]
    only: Vec<String>,
    /// Write the results to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Short runs, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Without rivals.
    #[arg(long)]
    alone: bool,
    /// Print the names of the workloads and end.
    #[arg(long)]
    list: bool,
}

/// How long and how often a workload runs.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Measurements of each contender; the one in the middle counts.
    pub rounds: usize,
    /// Small numbers of topics, kills and records.
    pub is_quick: bool,
    /// Whether rivals run too.
    pub with_rivals: bool,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is the result")]
async fn main() -> Result<()> {
    let args = Args::parse();
    descriptors::raise()?;
    let scale = Scale {
        seconds: if args.quick { 1.5 } else { 5.0 },
        rounds: if args.quick { 1 } else { 3 },
        is_quick: args.quick,
        with_rivals: !args.alone,
    };
    let mut rows: Vec<Row> = Vec::new();
    for name in workloads::NAMES {
        if args.list {
            println!("{name}");
            continue;
        }
        let wanted =
            args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
        if !wanted {
            continue;
        }
        progress(&format!("── {name}"));
        let more = match workloads::run(name, scale).await {
            Ok(more) => more,
            // The others are worth having.
            Err(error) => vec![Row::failed(name, &error)],
        };
        progress(&row::table(&more));
        rows.extend(more);
        // What was measured is kept, whatever becomes of the rest.
        if let Some(path) = &args.json {
            fs::write(path, serde_json::to_string_pretty(&rows)?)?;
        }
    }
    if !args.list {
        println!("{}", row::table(&rows));
    }
    Ok(())
}

/// Says on stderr what is going on.
#[expect(clippy::print_stderr, reason = "progress is for people")]
pub fn progress(text: &str) {
    eprintln!("{text}");
}
