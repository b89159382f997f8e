//! How the node is doing, for those who ask over HTTP: `/livez`, `/readyz` and `/metrics`.

use std::{
    fmt::Write as _,
    sync::{Arc, Weak},
};

use axum::{
    Router,
    extract::RawQuery,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use highwater_broker::Broker;
use highwater_cluster::{Cluster, Health as ClusterHealth, ShardHealth};
use parking_lot::Mutex;
use prometheus_client::{encoding::text, registry::Registry};

/// Where the node is between start and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has not joined the cluster.
    Starting,
    /// It takes requests.
    Serving,
    /// It is about to end.
    Stopping,
}

/// What is known about the node's health.
#[derive(Debug)]
pub struct Health {
    // Weak, because whoever stops the node owns the cluster alone.
    cluster: Weak<Cluster>,
    broker: Weak<Broker>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    catalogue_error: Option<String>,
}

/// One line of `/readyz?verbose`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// What was found.
    pub found: Found,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing to say.
    Well,
    /// A person should look, and requests are served all the same.
    Odd(String),
    /// Requests cannot be served, and why.
    Failing(String),
}

/// All checks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(Vec<Check>);

impl Health {
    /// Of a node that starts.
    pub fn new(cluster: Weak<Cluster>, broker: Weak<Broker>) -> Health {
        let state = State {
            phase: Phase::Starting,
            catalogue_error: None,
        };
        Health {
            cluster,
            broker,
            state: Mutex::new(state),
        }
    }

    /// The node has come this far.
    pub fn set_phase(&self, phase: Phase) {
        self.state.lock().phase = phase;
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Stopping)
    }

    /// The catalogue can, or cannot, be read.
    pub fn set_catalogue_error(&self, error: Option<String>) {
        self.state.lock().catalogue_error = error;
    }

    /// Looks at everything.
    pub fn report(&self) -> Report {
        let cluster = self.cluster.upgrade().map(|cluster| cluster.health());
        let state = self.state.lock();
        let phase = match state.phase {
            Phase::Starting => Found::Failing("the node is starting".into()),
            Phase::Serving => Found::Well,
            Phase::Stopping => Found::Failing("the node is stopping".into()),
        };
        let is_known = self
            .broker
            .upgrade()
            .is_none_or(|broker| broker.catalogue_is_known());
        let catalogue = match &state.catalogue_error {
            _ if !is_known => Found::Failing("it is not known whether it is the newest".into()),
            None => Found::Well,
            Some(error) => Found::Odd(format!("the one before stays in force: {error}")),
        };
        let check = |name, found| Check { name, found };
        let mut checks = vec![check("phase", phase), check("catalogue", catalogue)];
        if let Some(cluster) = cluster {
            checks.push(check("storage", storage(&cluster)));
            checks.push(check("shards", shards(&cluster)));
            checks.push(check("peers", peers(&cluster)));
        }
        Report(checks)
    }

    /// The routes; `registry` is what `/metrics` shows.
    pub fn routes(self: Arc<Health>, registry: Registry) -> Router {
        let registry = Arc::new(registry);
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(async move |query| self.readyz(query)))
            .route("/metrics", get(async move || metrics(&registry)))
    }

    fn readyz(&self, RawQuery(query): RawQuery) -> impl IntoResponse + use<> {
        let report = self.report();
        let status = match report.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let verbose = query.is_some_and(|q| q.split('&').any(|p| p.starts_with("verbose")));
        (status, report.text(verbose))
    }
}

impl Report {
    /// Whether requests can be served.
    pub fn is_ready(&self) -> bool {
        let fails = |check: &Check| matches!(check.found, Found::Failing(_));
        !self.0.iter().any(fails)
    }

    /// One line a check; without `verbose`, only of those that have something to say.
    pub fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        for Check { name, found } in &self.0 {
            // Writing to a string does not fail.
            let _ = match found {
                Found::Well if verbose => writeln!(text, "[+] {name}: ok"),
                Found::Well => Ok(()),
                Found::Odd(reason) => writeln!(text, "[!] {name}: {reason}"),
                Found::Failing(reason) => writeln!(text, "[-] {name}: {reason}"),
            };
        }
        text + if self.is_ready() {
            "ready\n"
        } else {
            "not ready\n"
        }
    }
}

fn storage(cluster: &ClusterHealth) -> Found {
    match &cluster.storage_failure {
        None => Found::Well,
        Some(failure) => Found::Failing(format!("writing has stopped on this node: {failure}")),
    }
}

fn shards(cluster: &ClusterHealth) -> Found {
    let all = cluster.shards.len();
    if let Some((shard, why)) = cluster
        .shards
        .iter()
        .find_map(|s| Some((s.shard, s.stopped.as_ref()?)))
    {
        return Found::Failing(format!("shard {shard} has stopped: {why}"));
    }
    let count =
        |is_so: fn(&ShardHealth) -> bool| cluster.shards.iter().filter(|s| is_so(s)).count();
    match (count(|s| s.leader.is_none()), count(|s| s.is_cut_off)) {
        (0, 0) => Found::Well,
        (0, cut_off) => {
            Found::Failing(format!("{cut_off} of {all} are cut off from most replicas"))
        }
        (without, _) => Found::Failing(format!("{without} of {all} have no leader")),
    }
}

fn peers(cluster: &ClusterHealth) -> Found {
    let down = cluster.peers.iter().filter(|(_, is_up)| !is_up);
    let down: Vec<String> = down.map(|(node, _)| node.to_string()).collect();
    match down.is_empty() {
        true => Found::Well,
        false => Found::Odd(format!("no connection to node {}", down.join(", "))),
    }
}

fn metrics(registry: &Registry) -> axum::response::Response {
    let mut text = String::new();
    match text::encode(&mut text, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use highwater_proto::ids::{NodeId, ShardId};

    use super::*;

    fn cluster() -> ClusterHealth {
        let shard = |shard| ShardHealth {
            shard: ShardId(shard),
            leader: Some(NodeId(1)),
            is_leader: true,
            is_cut_off: false,
            is_asleep: false,
            last: 7,
            committed: 7,
            applied: 7,
            stopped: None,
        };
        ClusterHealth {
            shards: vec![shard(0), shard(1)],
            peers: vec![(NodeId(2), true)],
            storage_failure: None,
        }
    }

    #[test]
    fn a_failure_says_its_reason() {
        let mut cluster = cluster();
        assert_eq!(storage(&cluster), Found::Well);
        assert_eq!(shards(&cluster), Found::Well);
        cluster.storage_failure = Some("no space left on device".into());
        cluster.shards[1].leader = None;
        let report = Report(vec![
            Check {
                name: "storage",
                found: storage(&cluster),
            },
            Check {
                name: "shards",
                found: shards(&cluster),
            },
        ]);
        assert!(!report.is_ready());
        assert_eq!(
            report.text(false),
            "[-] storage: writing has stopped on this node: no space left on device\n\
             [-] shards: 1 of 2 have no leader\nnot ready\n"
        );
        cluster.shards[1].leader = Some(NodeId(1));
        cluster.shards[1].is_cut_off = true;
        assert_eq!(
            shards(&cluster),
            Found::Failing("1 of 2 are cut off from most replicas".into())
        );
        cluster.shards[0].stopped = Some("a defect".into());
        assert_eq!(
            shards(&cluster),
            Found::Failing("shard 0 has stopped: a defect".into())
        );
    }

    #[test]
    fn a_lost_peer_or_a_wrong_catalogue_does_not_stop_requests() {
        let mut cluster = cluster();
        cluster.peers[0].1 = false;
        let found = peers(&cluster);
        assert_eq!(found, Found::Odd("no connection to node 2".into()));
        let health = Health::new(Weak::new(), Weak::new());
        assert!(!health.report().is_ready());
        health.set_phase(Phase::Serving);
        health.set_catalogue_error(Some("a checksum is wrong".into()));
        let report = health.report();
        assert!(report.is_ready());
        let text = report.text(true);
        assert!(text.contains("[+] phase: ok\n[!] catalogue: "), "{text}");
        assert!(text.ends_with("a checksum is wrong\nready\n"), "{text}");
    }
}
