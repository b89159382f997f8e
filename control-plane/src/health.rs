//! How the control plane is doing, for those who ask over HTTP: `/livez`, `/readyz` and `/metrics`.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::RawQuery,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::registry::Registry;

use crate::{admin::AdminIssuer, metrics, replica::Replica};

/// What is known of the control plane's health.
pub struct Health {
    replica: Arc<Replica>,
    issuer: Option<Arc<AdminIssuer>>,
    is_stopping: AtomicBool,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing to say.
    Well,
    /// A person should look, and requests are served all the same.
    Odd(&'static str),
    /// Requests cannot be served, and why.
    Failing(&'static str),
}

impl Health {
    /// Of a control plane that serves.
    pub fn new(replica: Arc<Replica>, issuer: Option<Arc<AdminIssuer>>) -> Health {
        Health {
            replica,
            issuer,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// It is about to end.
    pub fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    fn checks(&self) -> [(&'static str, Found); 3] {
        let phase = match self.is_stopping.load(Ordering::Relaxed) {
            true => Found::Failing("the control plane is stopping"),
            false => Found::Well,
        };
        let progress = self.replica.progress();
        let catalogue = match (progress.is_current, progress.is_following) {
            (false, _) => Found::Failing("the catalogue has not been read yet"),
            // What was read last is still shown, and nothing can be changed.
            (true, false) => Found::Odd("no node is followed at the moment"),
            (true, true) => Found::Well,
        };
        let issuer = match &self.issuer {
            Some(issuer) if !issuer.has_keys() => {
                Found::Odd("the keys of the issuer were not read, so its tokens are refused")
            }
            _ => Found::Well,
        };
        [
            ("phase", phase),
            ("catalogue", catalogue),
            ("issuer", issuer),
        ]
    }

    /// The routes; `registry` is what `/metrics` shows.
    pub fn routes(self: Arc<Health>, registry: Registry) -> Router {
        let registry = Arc::new(registry);
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(async move |query| self.readyz(query)))
            .route("/metrics", get(async move || show(&registry)))
    }

    fn readyz(&self, RawQuery(query): RawQuery) -> impl IntoResponse + use<> {
        let checks = self.checks();
        let fails = |(_, found): &(&str, Found)| matches!(found, Found::Failing(_));
        let status = match checks.iter().any(fails) {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        };
        let verbose = query.is_some_and(|q| q.split('&').any(|p| p.starts_with("verbose")));
        let mut text = String::new();
        for (name, found) in checks {
            // Writing to a string does not fail.
            let _ = match found {
                Found::Well if verbose => writeln!(text, "[+] {name}: ok"),
                Found::Well => Ok(()),
                Found::Odd(reason) => writeln!(text, "[!] {name}: {reason}"),
                Found::Failing(reason) => writeln!(text, "[-] {name}: {reason}"),
            };
        }
        if text.is_empty() {
            text.push_str("ok\n");
        }
        (status, text)
    }
}

fn show(registry: &Registry) -> impl IntoResponse + use<> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics::text(registry))
}
