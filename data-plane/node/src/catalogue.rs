//! Keeps the node's catalogue up to date, and says whether it can be relied on.
//!
//! Whoever revokes a key is told so when most nodes have it. A node that is cut off from the meta group does not
//! hear of it, so after a second it lets nobody in, and ends what is open, until it is back: it is closed, not
//! open, when it cannot know.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use highwater_broker::{Broker, catalogue::follower::Follower};
use highwater_cluster::Cluster;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::health::Health;

/// Pause after the catalogue could not be read.
const RETRY: Duration = Duration::from_millis(100);
/// How often it is looked whether the node would hear of a change.
const CHECK: Duration = Duration::from_millis(100);
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

/// Closes the node's doors while it would not hear of a change of the catalogue.
pub async fn watch_over(broker: Arc<Broker>, cluster: Weak<Cluster>) -> std::io::Result<()> {
    let mut in_touch = Instant::now();
    loop {
        sleep(CHECK).await;
        // Gone when the node stops.
        let Some(cluster) = cluster.upgrade() else {
            return Ok(());
        };
        if cluster.hears_of_catalogue() {
            in_touch = Instant::now();
        }
        let is_known = in_touch.elapsed() < DOUBT_MAX;
        if broker.set_catalogue_known(is_known) != is_known {
            match is_known {
                true => info!("the catalogue is known again"),
                false => warn!("cut off from the meta group: nobody is let in until it is back"),
            }
        }
    }
}
