//! Keeps the node's catalogue up to date, and says whether it can be relied on.
//!
//! Whoever revokes a key is told so when most nodes have it. A node that is cut off from the meta group does not
//! hear of it, so after a second it lets nobody in, and ends what is open, until it is back: it is closed, not
//! open, when it cannot know.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use highwater_broker::{Broker, catalogue::follower::Follower, deletion};
use highwater_cluster::Cluster;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::{clock, health::Health};

/// Pause after the catalogue could not be read.
const RETRY: Duration = Duration::from_millis(100);
/// How often it is looked whether the node would hear of a change.
const CHECK: Duration = Duration::from_millis(100);
/// How often it is looked whether projects were deleted: longer than any node is behind.
const SWEEP: Duration = Duration::from_secs(3);
/// How long a node may be in doubt about it before it lets nobody in. An election takes less.
const DOUBT_MAX: Duration = Duration::from_secs(1);

/// Takes up what is committed, as it comes.
pub async fn follow(mut follower: Follower, health: Arc<Health>) -> std::io::Result<()> {
    let mut is_failing = false;
    loop {
        match follower.follow().await {
            Ok(()) => {
                if std::mem::take(&mut is_failing) {
                    health.set_catalogue_error(None);
                }
            }
            Err(refusal) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(%refusal, "the catalogue cannot be read; the one in force stays");
                    health.set_catalogue_error(Some(refusal.to_string()));
                }
                sleep(RETRY).await;
            }
        }
    }
}

/// Opens the node's doors once it knows everything that was committed before, and closes them while it would not
/// hear of a change.
pub async fn watch_over(
    broker: Arc<Broker>,
    cluster: Weak<Cluster>,
    health: Arc<Health>,
) -> std::io::Result<()> {
    let mut in_touch = Instant::now();
    loop {
        sleep(CHECK).await;
        // Gone when the node stops.
        let Some(hears) = cluster.upgrade().map(|c| c.hears_of_catalogue()) else {
            return Ok(());
        };
        if hears {
            in_touch = Instant::now();
        }
        match broker.catalogue_is_known() {
            // What it has from before it was stopped, or cut off, may have changed since.
            false if hears && matches!(broker.catalogue_is_newest().await, Ok(true)) => {
                broker.set_catalogue_known(true);
                info!("the catalogue is known");
            }
            true if in_touch.elapsed() >= DOUBT_MAX => {
                broker.set_catalogue_known(false);
                // All stop together, or the others have: nothing to look at.
                match health.is_stopping() {
                    true => info!("the other nodes are gone"),
                    false => {
                        warn!("cut off from the meta group: nobody is let in until it is back")
                    }
                }
            }
            _ => {}
        }
    }
}

/// Removes what deleted projects have left, from time to time, while this node leads the meta group.
pub async fn sweep(broker: Arc<Broker>, cluster: Weak<Cluster>) -> std::io::Result<()> {
    let clock = clock::system();
    loop {
        sleep(SWEEP).await;
        let Some(leads) = cluster.upgrade().map(|c| c.leads_meta()) else {
            return Ok(());
        };
        if leads && let Err(refusal) = deletion::sweep(&broker, clock()).await {
            debug!(%refusal, "what deleted projects have left is removed later");
        }
    }
}
