//! The rules of the house as tests: who may depend on whom, and which crate alone names a library.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each crate of the workspace may depend on, of the workspace. Tests may use more.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("highwater-proto", &[]),
    ("highwater-broker", &["proto"]),
    ("highwater-storage", &["proto", "broker"]),
    ("highwater-cluster", &["proto", "broker", "storage"]),
    ("highwater-gateway", &["proto", "broker"]),
    (
        "highwater-node",
        &["proto", "broker", "storage", "cluster", "gateway"],
    ),
    ("highwater", &["proto", "node"]),
    ("highwater-e2e", &["proto"]),
];

/// The one folder whose sources and manifest may name a library.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("rocksdb", &["data-plane/storage"]),
    ("openraft", &["data-plane/cluster"]),
    ("axum", &["data-plane/gateway", "data-plane/node"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the table"));
        seen.insert(name.to_owned());
        let dependencies = package["dependencies"].as_array().unwrap();
        for dependency in dependencies.iter().filter(|d| d["kind"].is_null()) {
            let on = dependency["name"].as_str().unwrap();
            if let Some(short) = on.strip_prefix("highwater-") {
                assert!(may.contains(&short), "{name} must not depend on {on}");
            }
        }
    }
    let table: BTreeSet<String> = allowed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, table, "the table lists the crates of the workspace");
}

#[test]
fn a_library_is_named_in_its_one_crate_only() {
    let mut files = Vec::new();
    for folder in [
        "proto",
        "data-plane",
        "cli",
        "e2e/src",
        "e2e/bench",
        "e2e/tests",
    ] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the sources were found");
    let this = root().join(file!().trim_start_matches("./"));
    for file in files
        .iter()
        .filter(|file| !file.ends_with(this.file_name().unwrap()))
    {
        let text = fs::read_to_string(file).unwrap();
        let place = file.strip_prefix(root()).unwrap().to_str().unwrap();
        for (library, homes) in NAMED_ONLY_IN {
            let at_home = homes.iter().any(|home| place.starts_with(home));
            let used = format!("use {library}::");
            let path = format!(" {library}::");
            let names_it = text.contains(&used) || text.contains(&path);
            assert!(at_home || !names_it, "{place} names {library}");
        }
    }
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    let mut files = Vec::new();
    sources(&root().join("data-plane"), &mut files);
    for file in files {
        let place = file
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let is_test = place.contains("/tests") || place.contains("/examples/");
        let text = fs::read_to_string(&file).unwrap();
        let reads = text.contains("SystemTime::now()") && !place.ends_with("node/src/clock.rs");
        assert!(is_test || !reads, "{place} reads the time of day");
        let unbounded = text.contains("unbounded_channel(");
        assert!(is_test || !unbounded, "{place} makes an unbounded channel");
    }
}

/// All Rust sources below a folder.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
