//! Every metric of a control plane.

use std::fmt::Write as _;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The metrics, each named by what it counts.
#[derive(Debug)]
pub struct Metrics {
    /// Requests that were answered.
    pub requests: Family<Answered, Counter>,
    /// How long answers took.
    pub request_seconds: Histogram,
    /// Requests without a good credential.
    pub unauthenticated: Counter,
    /// Changes of the catalogue that were made.
    pub commits: Counter,
    /// Changes that had to be decided again.
    pub conflicts: Counter,
    /// Commits whose outcome was not known at once.
    pub doubts: Counter,
    /// Documents that were removed, or set to be, because their time was over.
    pub swept: Counter,
    /// Documents of the catalogue.
    pub documents: Gauge,
    /// The catalogue's version.
    pub version: Gauge,
    /// Whether a node is followed.
    pub following: Gauge,
    /// Open connections.
    pub connections: Gauge,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The method; `other` for those that no path has.
    pub method: &'static str,
    /// The status.
    pub status: u16,
}

/// Upper bounds of the buckets, in seconds.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            request_seconds: Histogram::new(SECONDS),
            unauthenticated: Counter::default(),
            commits: Counter::default(),
            conflicts: Counter::default(),
            doubts: Counter::default(),
            swept: Counter::default(),
            documents: Gauge::default(),
            version: Gauge::default(),
            following: Gauge::default(),
            connections: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Adds them to what `/metrics` shows.
    #[rustfmt::skip]
    pub fn register(&self, registry: &mut Registry) {
        let to = registry.sub_registry_with_prefix("highwater_control");
        to.register("requests", "Requests that were answered", self.requests.clone());
        to.register("request_seconds", "How long answers took", self.request_seconds.clone());
        to.register("unauthenticated", "Requests without a good credential", self.unauthenticated.clone());
        to.register("commits", "Changes of the catalogue that were made", self.commits.clone());
        to.register("conflicts", "Changes that had to be decided again", self.conflicts.clone());
        to.register("doubts", "Commits whose outcome was not known at once", self.doubts.clone());
        to.register("swept", "Documents that went because their time was over", self.swept.clone());
        to.register("documents", "Documents of the catalogue", self.documents.clone());
        to.register("catalogue_version", "Version of the catalogue that is shown", self.version.clone());
        to.register("following", "1 while a node's catalogue is followed", self.following.clone());
        to.register("connections", "Open connections", self.connections.clone());
    }
}

/// A registry as the text that `/metrics` answers.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        // Writing to a string does not fail.
        let _ = write!(text, "# {error}");
    }
    text
}
