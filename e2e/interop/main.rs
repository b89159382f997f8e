//! Other people's clients at a cluster of real processes: one file a client, the script that drives it beside it. And the
//! console, in a browser, and requests that are made of the control plane's description.
//!
//! They need what `scripts/setup interop` installs, so `cargo test` leaves them out and `make interop` runs them. A
//! client that is missing fails its tests, unless `HIGHWATER_E2E_WITHOUT` names it: any of `paho`, `websockets`,
//! `grpcio`, `schemathesis`, `node`, `mosquitto`, `curl` and `chromium`, with commas between them.

mod browser;
mod chromium;
mod console;
mod curl;
mod foreign;
mod forwarder;
mod grpc_python;
mod mosquitto;
mod paho;
mod rumqttc;
mod schemathesis;
mod websockets;

use highwater_e2e::{
    Cluster,
    cluster::{PEER_LOSS_WARNINGS, Setup},
};

/// A cluster in which nodes may be missed.
async fn cluster() -> Cluster {
    let setup = Setup {
        allowed_warnings: PEER_LOSS_WARNINGS.to_vec(),
        ..Setup::default()
    };
    Cluster::start_with(setup).await
}
