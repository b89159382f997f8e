//! The control plane of a development cluster, which runs in this process.

use std::time::Duration;

use highwater_control_plane::{Config, ControlPlane};

use super::layout::Layout;
use crate::exit::Exit;

/// How long it may take until it has read the catalogue.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Starts it, when the nodes are ready.
pub async fn start(layout: &Layout) -> anyhow::Result<ControlPlane> {
    // The variables of a real control plane are not for this one.
    let config = Config::read(&layout.control_plane.config, std::iter::empty())?;
    let control_plane = ControlPlane::start(config).await?;
    match control_plane.becomes_ready(READY_TIMEOUT).await {
        true => Ok(control_plane),
        false => Err(Exit::unavailable("the control plane cannot read the catalogue").into()),
    }
}
