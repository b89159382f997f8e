//! The console in a browser, by keyboard, at the width of a phone, in the dark; and that what is committed of it is built
//! of its source.

use std::path::Path;

use highwater_e2e::dev::Dev;
use tokio::process::Command;

use crate::foreign::{Foreign, has, installed, node};

/// Where the pictures of the pages are, for people to look at.
const PICTURES: &str = "console";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_used_by_keyboard() {
    if !has("chromium") || !has("node") {
        return;
    }
    let dev = Dev::start(1).await;
    let told = |name: &str| dev.ready[name].as_str().expect("a text");
    let mut command = node("console.cjs");
    command
        .env("HIGHWATER_CONTROL_PLANE", told("control_plane"))
        .env("HIGHWATER_OPERATOR_KEY", told("operator_key"))
        .env(
            "HIGHWATER_SERVER",
            dev.ready["servers"][0].as_str().expect("an address"),
        )
        .env("HIGHWATER_PICTURES", installed().join(PICTURES));
    let said = Foreign::run(command).finish().await;
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}

#[tokio::test]
async fn what_is_committed_of_the_console_is_what_its_source_builds_to() {
    if !has("node") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = installed();
    let mut command = Command::new(root.join("scripts/console"));
    command.arg("--check").env(
        "CARGO_TARGET_DIR",
        target.parent().expect("the target folder"),
    );
    Foreign::run(command).finish().await;
}
