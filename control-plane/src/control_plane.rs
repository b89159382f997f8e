//! A control plane from start to stop: everything the process is made of, put together in one place.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, middleware::from_fn_with_state};
use highwater_certificates::{Certificates, TlsFiles};
use highwater_credentials::{KeyHasher, Sealer, ServiceCredential};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{AdminIssuer, Authenticator},
    api::Api,
    clock::{self, Clock},
    config::Config,
    console,
    fetch::Fetcher,
    health::Health,
    http::{Rates, around, no_such_method, no_such_path},
    issuers,
    metrics::Metrics,
    nodes::Nodes,
    openapi,
    replica::Replica,
    serve::{ALPN_PROTOCOLS, Port, Tls},
    signing_keys, sweeper,
    tasks::{OnStop, Tasks},
    write::{Memory, Writer},
};

/// A running control plane.
pub struct ControlPlane {
    port: Port,
    address: SocketAddr,
    health: Arc<Health>,
    replica: Arc<Replica>,
    tasks: Tasks,
    shutdown_timeout: Duration,
}

impl ControlPlane {
    /// Opens the door and begins to follow a node. Clients are answered once [`ControlPlane::run_until`] runs.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub async fn start(config: Config) -> anyhow::Result<ControlPlane> {
        ControlPlane::start_at(config, clock::system()).await
    }

    /// The same with a clock of its own.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub async fn start_at(config: Config, clock: Clock) -> anyhow::Result<ControlPlane> {
        let tasks = Tasks::default();
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.with_context(|| format!("listen: cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let tls = tls(&config, &tasks)?;
        let metrics = Arc::new(Metrics::default());
        let nodes = Arc::new(nodes(&config)?);
        let replica = Arc::new(Replica::new(metrics.clone()));
        let issuer = issuer(&config)?;
        let fetcher = Fetcher::new(config.issuers.reach, config.issuers.authorities.as_deref());
        let fetcher = fetcher.context("issuers.tls_ca")?;
        let api = api(&config, &nodes, &replica, &issuer, &clock, &metrics);

        tasks.spawn("replica", OnStop::Drop, replica.clone().follow(nodes));
        tasks.spawn(
            "sweeper",
            OnStop::Drop,
            sweeper::sweep_for_ever(api.clone()),
        );
        tasks.spawn(
            "issuers' keys",
            OnStop::Drop,
            issuers::fetch_for_ever(api.clone(), fetcher),
        );
        if let Some(issuer) = issuer.clone() {
            tasks.spawn("issuer's keys", OnStop::Drop, issuer.keep_reading());
        }
        let health = Arc::new(Health::new(replica.clone(), issuer));
        let router = router(&config, api, health.clone(), &metrics);
        Ok(ControlPlane {
            port: Port {
                listener,
                tls,
                router,
                metrics,
            },
            address,
            health,
            replica,
            tasks,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until everything that was committed before the start is shown. Says whether that was so in time.
    pub async fn becomes_ready(&self, within: Duration) -> bool {
        self.replica.becomes_current(Instant::now() + within).await
    }

    /// Serves until `stop` is cancelled, then stops in order: not ready, no new connections, requests are finished,
    /// background tasks end. Says whether all of it was done in time.
    pub async fn run_until(self, stop: CancellationToken) -> bool {
        info!(address = %self.address, "the control plane serves");
        let stop_accepting = CancellationToken::new();
        let mut serving = Box::pin(self.port.serve(stop_accepting.clone()));
        tokio::select! {
            () = &mut serving => {}
            () = stop.cancelled() => {}
        }
        let end = Instant::now() + self.shutdown_timeout;
        self.health.set_stopping();
        stop_accepting.cancel();
        // The last tenth is for the tasks.
        let drained = timeout_at(end - self.shutdown_timeout / 10, serving).await;
        if drained.is_err() {
            warn!("requests were still being answered when the time to stop was over");
        }
        let stopped = timeout(self.shutdown_timeout / 10, self.tasks.stop()).await;
        info!("the control plane has stopped");
        drained.is_ok() && stopped.is_ok()
    }
}

fn tls(config: &Config, tasks: &Tasks) -> anyhow::Result<Option<Tls>> {
    let Some(files) = &config.tls else {
        return Ok(None);
    };
    let make = |files: &TlsFiles| files.server(&ALPN_PROTOCOLS).map(Arc::new);
    let mut certificates = Certificates::read("listen", files.clone(), make)?;
    let newest = certificates.newest();
    let watch = async move { certificates.watch().await };
    tasks.spawn("certificates", OnStop::Drop, watch);
    Ok(Some(newest))
}

fn nodes(config: &Config) -> anyhow::Result<Nodes> {
    let authorities = config.nodes_ca.as_ref().map(|path| {
        fs::read(path).with_context(|| format!("nodes_tls_ca: cannot read {}", path.display()))
    });
    let credential = ServiceCredential::new(config.secret_bytes());
    Nodes::new(
        &config.nodes,
        authorities.transpose()?.as_deref(),
        &credential,
    )
}

fn issuer(config: &Config) -> anyhow::Result<Option<Arc<AdminIssuer>>> {
    let Some(issuer) = config.admin.issuer.clone() else {
        return Ok(None);
    };
    let issuer = AdminIssuer::new(issuer.issuer, issuer.audiences, issuer.keys)?;
    Ok(Some(Arc::new(issuer)))
}

fn api(
    config: &Config,
    nodes: &Arc<Nodes>,
    replica: &Arc<Replica>,
    issuer: &Option<Arc<AdminIssuer>>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Arc<Api> {
    let secret = config.secret_bytes();
    let memory = Memory::new(Sealer::new(secret));
    Arc::new(Api {
        replica: replica.clone(),
        writer: Writer::new(
            replica.clone(),
            nodes.clone(),
            memory,
            clock.clone(),
            metrics.clone(),
        ),
        nodes: nodes.clone(),
        authenticator: Authenticator::new(
            config.admin.operator_key,
            issuer.clone(),
            config.admin.operators.clone(),
            clock.clone(),
            metrics.clone(),
        ),
        rates: Rates::new(config.admin.requests_per_second),
        sealer: Sealer::new(secret),
        hasher: KeyHasher::new(secret),
        clock: clock.clone(),
        metrics: metrics.clone(),
    })
}

fn router(config: &Config, api: Arc<Api>, health: Arc<Health>, metrics: &Arc<Metrics>) -> Router {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let (routes, _) = openapi::routes();
    routes
        .merge(openapi::pages())
        .merge(signing_keys::public())
        .merge(console::pages(&config.console_nodes))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(api)
        .layer(from_fn_with_state(metrics.clone(), around))
        .merge(health.routes(registry))
}
