//! Runs seeds: many of them, each in a process of its own, or one with its trace.

mod many;

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use highwater_sim::run::run;

use crate::many::Finished;

/// Bugs that can be compiled in, to prove that the simulation finds them.
const PLANTS: [(&str, bool); 4] = [
    (
        "ack-before-fsync",
        cfg!(highwater_plant = "ack-before-fsync"),
    ),
    ("vote-not-synced", cfg!(highwater_plant = "vote-not-synced")),
    (
        "read-without-read-index",
        cfg!(highwater_plant = "read-without-read-index"),
    ),
    (
        "off-by-one-resume",
        cfg!(highwater_plant = "off-by-one-resume"),
    ),
];

/// Simulates a cluster of three nodes, once for each seed.
#[derive(Parser)]
struct Arguments {
    /// Number of seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run just this one.
    #[arg(long)]
    seed: Option<u64>,
    /// With one seed: print everything that happens.
    #[arg(long)]
    trace: bool,
    /// With one seed: print what the nodes log at this level.
    #[arg(long)]
    log: Option<tracing::Level>,
    /// Seeds that run at the same time; as many as there are processors if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Expect that this bug, which was compiled in by `prove.sh`, is found by one of the seeds.
    #[arg(long)]
    plant: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let compiled: Vec<&str> = PLANTS
        .iter()
        .filter(|plant| plant.1)
        .map(|plant| plant.0)
        .collect();
    if compiled != arguments.plant.as_deref().into_iter().collect::<Vec<_>>() {
        eprintln!("this program was compiled with the bugs {compiled:?}; see prove.sh");
        return ExitCode::FAILURE;
    }
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    if let Some(level) = arguments.log {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .without_time()
            .with_ansi(false)
            .init();
    }
    let outcome = run(seed);
    if arguments.trace {
        print!("{}", outcome.trace);
    }
    println!("{}", outcome.counts);
    match &outcome.violation {
        None => println!("kept"),
        Some(violation) => println!("broken: {violation}"),
    }
    ExitCode::from(u8::from(outcome.violation.is_some()))
}

fn many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let seeds = arguments.from..arguments.from + arguments.seeds;
    let Finished { verdicts, counts } =
        many::run(seeds, arguments.jobs, arguments.plant.as_deref());
    let failed = verdicts
        .values()
        .filter(|violation| violation.is_some())
        .count();
    println!("{counts}");
    eprintln!("{:.1} s", began.elapsed().as_secs_f64());
    match &arguments.plant {
        None => {
            println!("{} passed, {failed} failed", verdicts.len() - failed);
            ExitCode::from(u8::from(failed > 0))
        }
        Some(plant) => {
            let found = verdicts
                .iter()
                .find_map(|(seed, v)| Some((seed, v.as_ref()?)));
            match found {
                Some((seed, violation)) => println!("{plant}: found by seed {seed}: {violation}"),
                None => println!("{plant}: not found by {} seeds", verdicts.len()),
            }
            ExitCode::from(u8::from(found.is_none()))
        }
    }
}
