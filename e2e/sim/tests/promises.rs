//! Some seeds on every `cargo test`; `ci.sh` runs the many.

use std::process::Command;

#[test]
fn promises_hold_whatever_happens() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-sim"));
    let output = command
        .args(["--from", "1000", "--seeds", "20"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("20 passed, 0 failed\n"), "{text}");
}
