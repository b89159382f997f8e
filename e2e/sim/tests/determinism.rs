//! A seed is all there is to say about a run.

use std::process::Command;

/// Everything that happens with a seed.
fn trace(seed: u64) -> String {
    let seed = seed.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-sim"));
    let output = command.args(["--trace", "--seed", &seed]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_same_seed_twice_gives_the_same_bytes() {
    for seed in [2, 6, 7, 8, 14] {
        let (first, second) = (trace(seed), trace(seed));
        assert!(first.lines().count() > 200, "something happened");
        for (number, (first, second)) in first.lines().zip(second.lines()).enumerate() {
            assert_eq!(first, second, "line {number} of seed {seed}");
        }
        assert_eq!(first, second);
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(trace(3), trace(4));
}
