//! Many seeds, some at the same time, each in a process of its own.

use std::{
    collections::BTreeMap,
    env,
    ops::Range,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use highwater_sim::counts::Counts;

/// What came of all seeds.
#[derive(Default)]
pub struct Finished {
    /// For each seed the promise that was broken, if one was.
    pub verdicts: BTreeMap<u64, Option<String>>,
    /// How much happened in all of them.
    pub counts: Counts,
}

/// Runs the seeds. With a planted bug it ends at the first broken promise.
pub fn run(seeds: Range<u64>, jobs: Option<usize>, plant: Option<&str>) -> Finished {
    let next = AtomicU64::new(seeds.start);
    let found = AtomicBool::new(false);
    let finished = Mutex::new(Finished::default());
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || found.load(Ordering::Relaxed) {
                return;
            }
            let (counts, violation) = simulate(seed, plant)
                .unwrap_or_else(|error| (Counts::default(), Some(format!("{error:#}"))));
            if let Some(violation) = &violation {
                println!("seed {seed}: {violation}");
                found.store(plant.is_some(), Ordering::Relaxed);
            }
            let mut finished = finished.lock().expect("no worker panics");
            finished.counts += &counts;
            finished.verdicts.insert(seed, violation);
            if finished.verdicts.len().is_multiple_of(50) {
                eprintln!("{} seeds", finished.verdicts.len());
            }
        }
    };
    let available = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(available) {
            scope.spawn(worker);
        }
    });
    let finished = finished.into_inner().expect("no worker panics");
    let failed = finished
        .verdicts
        .iter()
        .find(|(_, violation)| violation.is_some());
    if let (Some((seed, _)), None) = (failed, plant) {
        println!("replay: cargo run --release -- --seed {seed} --trace");
    }
    finished
}

/// One seed: what `--seed` prints, read back.
fn simulate(seed: u64, plant: Option<&str>) -> anyhow::Result<(Counts, Option<String>)> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--seed", &seed.to_string()]);
    command.args(plant.map(|plant| ["--plant", plant]).iter().flatten());
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let (counts, verdict) = text.split_once('\n').with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("the simulation ended with {}: {errors}", output.status)
    })?;
    let violation = verdict
        .trim_end()
        .strip_prefix("broken: ")
        .map(str::to_owned);
    Ok((counts.parse()?, violation))
}
