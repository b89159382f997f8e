//! How many API keys one core checks in a second, each with what it allows: at least a million.
//!
//! `cargo run --release -p highwater-broker --example key_bench`

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use highwater_broker::{
    Broker,
    catalogue::{ApiKey, Catalogue, Operation, Permissions, Project},
    handle::ShardHandle,
    tail::Tail,
};
use highwater_credentials::KeyHasher;
use highwater_proto::{
    ids::{KeyId, ProjectId, ShardId, TenantId},
    names::{TopicFilter, TopicName},
};

const SECRET: &[u8] = b"secret of the cluster";
const PROJECTS: usize = 1_000;
const KEYS: usize = 100_000;
const SECONDS: u64 = 3;
/// Fewest checks a second and core.
const GOAL: f64 = 1_000_000.0;

fn main() {
    let hasher = KeyHasher::new(SECRET);
    let projects: Vec<ProjectId> = (0..PROJECTS).map(|_| ProjectId::generate()).collect();
    let filter = TopicFilter::try_from("orders/+/#").expect("a filter");
    let allowed = vec![Operation::Publish, Operation::Subscribe];
    let permissions = Arc::new(Permissions::new([(allowed, filter)]));
    let mut texts = Vec::with_capacity(KEYS);
    let keys: Vec<ApiKey> = (0..KEYS)
        .map(|number| {
            let id = KeyId::generate();
            let (text, secret_hash) = hasher.make_key(id, &random_of(number));
            texts.push(text);
            ApiKey {
                id,
                project: projects[number % PROJECTS],
                secret_hash,
                previous: None,
                permissions: permissions.clone(),
                expires_at_ms: None,
                used_at_ms: Arc::default(),
            }
        })
        .collect();
    let tenant = TenantId::generate();
    let shards = vec![ShardId(0)];
    let projects = projects
        .into_iter()
        .map(|id| Project::new(id, tenant, "bench", shards.clone()));
    let catalogue = Catalogue::new(projects, keys);
    // Nobody asks them for anything.
    let shard = |id| ShardHandle::new(ShardId(id), Arc::new(Tail::default())).0;
    let broker = Broker::new(SECRET, catalogue, vec![shard(0)], shard(1));
    let topic = TopicName::try_from("orders/eu/42").expect("a name");

    let (begun, mut checked) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        for text in texts.iter().skip(checked as usize % 997).step_by(997) {
            let principal = broker.authenticate(black_box(text), 1).expect("it is good");
            assert!(principal.require(Operation::Publish, &topic).is_ok());
            checked += 1;
        }
    }
    let rate = checked as f64 / begun.elapsed().as_secs_f64();
    let mark = if rate >= GOAL { "✓" } else { "✗" };
    println!(
        "API keys, {KEYS} of {PROJECTS} projects: {rate:.0}/s on one core; goal {GOAL:.0}/s {mark}"
    );
}

/// Bytes that differ from key to key.
fn random_of(number: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    bytes
}
