//! Two hundred seeds on every `cargo test`.

use std::process::Command;

#[test]
fn promises_hold_whatever_happens() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-sim"));
    let output = command.args(["--seeds", "200"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(text.ends_with("200 passed, 0 failed\n"), "{text}");
}
