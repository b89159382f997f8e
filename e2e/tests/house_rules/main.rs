//! The rules of the house as tests: who may depend on whom, which crate alone names a library, and what
//! is deliberately absent.
//!
//! `e2e/sim` is a workspace of its own, with rules of its own, and is not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

mod source;

use source::Source;

/// What each crate of the workspace may depend on, of the workspace. Tests may use more.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("highwater-proto", &[]),
    ("highwater-credentials", &["proto"]),
    ("highwater-broker", &["proto", "credentials"]),
    ("highwater-storage", &["proto", "broker"]),
    ("highwater-cluster", &["proto", "broker", "storage"]),
    ("highwater-certificates", &[]),
    ("highwater-mqtt", &[]),
    ("highwater-websocket", &[]),
    (
        "highwater-gateway",
        &["proto", "credentials", "broker", "mqtt", "websocket"],
    ),
    (
        "highwater-node",
        &[
            "proto",
            "certificates",
            "broker",
            "storage",
            "cluster",
            "gateway",
        ],
    ),
    (
        "highwater-control-plane",
        &["proto", "credentials", "certificates"],
    ),
    (
        "highwater",
        &["proto", "credentials", "node", "control-plane"],
    ),
    ("highwater-e2e", &["proto", "credentials", "mqtt"]),
];

/// The folders whose sources and manifests alone may name a library.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("rocksdb", &["data-plane/storage/"]),
    ("openraft", &["data-plane/cluster/"]),
    (
        "axum",
        &["data-plane/gateway/", "data-plane/node/", "control-plane/"],
    ),
];

/// All folders with sources, but the simulation.
const FOLDERS: &[&str] = &[
    "proto",
    "credentials",
    "certificates",
    "data-plane",
    "control-plane",
    "cli",
    "e2e/src",
    "e2e/bench",
    "e2e/interop",
    "e2e/tests",
];
/// Those of what is shipped.
const SHIPPED: &[&str] = &[
    "proto",
    "credentials",
    "certificates",
    "data-plane",
    "control-plane",
    "cli",
];

/// What a broker that reads no clock and does no I/O has no use for.
const NOT_IN_BROKER: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio::fs",
    "tokio::io",
    "tokio::net",
    "tokio::process",
    "tokio::time",
];

/// Tasks that are started without a wrapper, and why.
const SPAWNS: &[(&str, &str)] = &[(
    "cli/src/bench.rs",
    "the whole run, awaited where it is started",
)];

/// Maxima that are not in `proto/src/limits.rs`, each with its reason to be elsewhere. A line whose maximum
/// has moved there is to be removed.
const MAXIMA_ELSEWHERE: &[(&str, &str)] = &[
    ("data-plane/storage/src/kv/rocks.rs", "REWRITES_MAX"),
    (
        "data-plane/storage/src/log/format/record.rs",
        "RECORD_BYTES_SMALL_MAX",
    ),
    ("data-plane/storage/src/log/read.rs", "CHUNK_BYTES_MAX"),
    ("data-plane/storage/src/log/read.rs", "GAP_BYTES_MAX"),
];

/// Wire formats: their maxima are those of their specifications, or follow from them, and they depend on
/// no crate of the workspace. What a server allows is an argument of theirs.
const WIRES: &[&str] = &["data-plane/mqtt/", "data-plane/websocket/"];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap().to_owned()
}

/// The packages of the workspace as their manifests describe them.
fn packages() -> Vec<Value> {
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
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Sources without what is compiled for tests only.
fn shipped() -> impl Iterator<Item = Source> {
    let sources = Source::below(&root(), SHIPPED);
    assert!(sources.len() > 100, "the sources were found");
    sources.into_iter().map(Source::without_tests)
}

fn is_at_home(place: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| place.starts_with(home))
}

/// Whether a path is this one, or something in it.
fn is_within(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in packages() {
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
fn a_library_is_named_in_its_own_crates_only() {
    for source in Source::below(&root(), FOLDERS) {
        let paths = source.paths();
        for (library, homes) in NAMED_ONLY_IN {
            let names_it = paths.iter().any(|path| is_within(path, library));
            let may = is_at_home(&source.place, homes);
            assert!(may || !names_it, "{} names {library}", source.place);
        }
    }
}

/// For tests and build scripts, too, and under whatever name.
#[test]
fn a_library_is_in_the_manifests_of_its_own_crates_only() {
    let mut found = BTreeSet::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let place = manifest.strip_prefix(root()).unwrap().to_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            for (library, homes) in NAMED_ONLY_IN.iter().filter(|(l, _)| *l == name) {
                assert!(is_at_home(place, homes), "{place} depends on {library}");
                found.insert(*library);
            }
        }
    }
    assert_eq!(found.len(), NAMED_ONLY_IN.len(), "the manifests were read");
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    let clocks = ["data-plane/node/src/clock.rs", "control-plane/src/clock.rs"];
    let services = [
        "data-plane/",
        "control-plane/",
        "credentials/",
        "certificates/",
    ];
    for source in shipped().filter(|s| is_at_home(&s.place, &services)) {
        let reads = source
            .paths()
            .iter()
            .any(|p| p.ends_with("SystemTime::now"));
        let is_clock = clocks.contains(&source.place.as_str());
        assert!(is_clock || !reads, "{} reads the time of day", source.place);
    }
}

#[test]
fn the_broker_has_no_clock_and_does_no_io() {
    let sources = shipped().filter(|s| s.place.starts_with("data-plane/broker/"));
    for source in sources {
        for path in source.paths() {
            let what = NOT_IN_BROKER.iter().find(|module| is_within(&path, module));
            assert_eq!(what, None, "{} names {path}", source.place);
        }
        let clock = source
            .names()
            .find(|n| ["Instant", "SystemTime"].contains(n));
        assert_eq!(clock, None, "{} has a clock", source.place);
    }
}

#[test]
fn nothing_is_unbounded() {
    for source in shipped() {
        // `Unbounded` alone is the end of a range.
        let is_unbounded =
            |name: &&str| name.to_lowercase().starts_with("unbounded") && *name != "Unbounded";
        let found = source.names().find(is_unbounded);
        assert_eq!(found, None, "{} has a queue without an end", source.place);
    }
}

#[test]
fn tasks_are_started_by_their_wrappers_only() {
    for source in shipped() {
        let bare = |path: &String| {
            ["spawn", "spawn_local"].iter().any(|spawn| {
                let task = format!("task::{spawn}");
                *path == format!("tokio::{spawn}")
                    || *path == task
                    || path.ends_with(&format!("::{task}"))
            })
        };
        let found = source.paths().into_iter().find(bare);
        let may = SPAWNS.iter().any(|(place, _)| *place == source.place);
        assert!(may || found.is_none(), "{}: {found:?}", source.place);
    }
}

#[test]
fn every_maximum_is_among_the_limits() {
    let mut limits = 0;
    let is_elsewhere = |place: &str| {
        place.starts_with("cli/") || WIRES.iter().any(|folder| place.starts_with(folder))
    };
    for source in shipped().filter(|s| !is_elsewhere(&s.place)) {
        let names: Vec<&str> = source.names().collect();
        // How long something may take is no size: such a maximum may stay where it is waited for.
        let constants = names
            .windows(3)
            .filter(|w| w[0] == "const" && w[2] != "Duration");
        for name in constants.map(|w| w[1]).filter(|n| n.ends_with("_MAX")) {
            let place = source.place.as_str();
            match place == "proto/src/limits.rs" {
                true => limits += 1,
                false => assert!(
                    MAXIMA_ELSEWHERE.contains(&(place, name)),
                    "{name} of {place} belongs into proto/src/limits.rs"
                ),
            }
        }
    }
    assert!(limits > 30, "the limits were found");
}
