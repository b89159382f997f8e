//! This process's replica of the catalogue: follows one node, holds every document, never a part of a commit.

use std::{convert::Infallible, sync::Arc, time::Duration};

use highwater_proto::control::WatchResponse;
use parking_lot::RwLock;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout_at},
};
use tonic::{Code, Status, Streaming};
use tracing::{error, info, warn};

use crate::{catalogue::Catalogue, metrics::Metrics, nodes::Nodes};

/// Pause before a node is tried again after the first failure, and the longest one after many.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// The replica. Everyone reads it; one task writes it.
#[derive(Debug)]
pub struct Replica {
    catalogue: RwLock<Catalogue>,
    progress: watch::Sender<Progress>,
    /// Somebody has reason to believe that the node that is followed lags behind.
    suspicion: Notify,
    metrics: Arc<Metrics>,
}

/// How far the replica has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The version it shows.
    pub version: u64,
    /// Whether it has everything that was committed when it began.
    pub is_current: bool,
    /// Whether it follows a node just now.
    pub is_following: bool,
}

impl Replica {
    /// One that has read nothing yet.
    pub fn new(metrics: Arc<Metrics>) -> Replica {
        Replica {
            catalogue: RwLock::default(),
            progress: watch::Sender::default(),
            suspicion: Notify::new(),
            metrics,
        }
    }

    /// Looks at the catalogue as it is now. Nothing may wait inside.
    pub fn read<T>(&self, look: impl FnOnce(&Catalogue) -> T) -> T {
        look(&self.catalogue.read())
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until it shows this version. Says whether it does; when it does not in time, another node is followed.
    pub async fn reaches(&self, version: u64, until: Instant) -> bool {
        self.comes_to(until, |progress| progress.version >= version)
            .await
    }

    /// Waits until it has everything that was committed when it began.
    pub async fn becomes_current(&self, until: Instant) -> bool {
        self.comes_to(until, |progress| progress.is_current).await
    }

    async fn comes_to(&self, until: Instant, enough: impl FnMut(&Progress) -> bool) -> bool {
        let mut progress = self.progress.subscribe();
        let reached = matches!(
            timeout_at(until, progress.wait_for(enough)).await,
            Ok(Ok(_))
        );
        if !reached {
            self.suspicion.notify_one();
        }
        reached
    }

    /// Follows the nodes, one after the other, for ever.
    ///
    /// # Errors
    /// Never.
    pub async fn follow(self: Arc<Self>, nodes: Arc<Nodes>) -> Result<(), Infallible> {
        let mut node = 0;
        let mut pause = PAUSE_FIRST;
        loop {
            let before = self.progress().version;
            let ended = self.follow_one(&nodes, node).await;
            self.progress
                .send_modify(|progress| progress.is_following = false);
            self.metrics.following.set(0);
            warn!(node, reason = ended.message(), "another node is followed");
            node = (node + 1) % nodes.count();
            pause = match self.progress().version > before {
                true => PAUSE_FIRST,
                false => (pause * 2).min(PAUSE_LONGEST),
            };
            sleep(pause).await;
        }
    }

    /// Follows one node until it ends, and says why it did.
    async fn follow_one(&self, nodes: &Nodes, node: usize) -> Status {
        let from_version = self.progress().version;
        let mut changes = match nodes.watch(node, from_version).await {
            Ok(changes) => changes,
            Err(status) => {
                if status.code() == Code::InvalidArgument && from_version > 0 {
                    self.begin_anew();
                }
                return status;
            }
        };
        info!(node, from_version, "the catalogue of a node is followed");
        self.progress
            .send_modify(|progress| progress.is_following = true);
        self.metrics.following.set(1);
        tokio::select! {
            ended = self.take(&mut changes) => ended,
            () = self.suspicion.notified() => Status::aborted("it lags behind"),
        }
    }

    async fn take(&self, changes: &mut Streaming<WatchResponse>) -> Status {
        loop {
            match changes.message().await {
                Ok(Some(response)) => self.apply(response),
                Ok(None) => return Status::unavailable("it has ended the stream"),
                Err(status) => return status,
            }
        }
    }

    /// The cluster has never come to the version that is shown: it is not the one of before, or was put back to an
    /// earlier time. What is shown is not so, and nothing is shown until it has been read.
    fn begin_anew(&self) {
        error!("the catalogue of the cluster is another one; it is read from its beginning");
        *self.catalogue.write() = Catalogue::default();
        self.progress.send_modify(|progress| {
            progress.version = 0;
            progress.is_current = false;
        });
    }

    /// Takes a response, which holds whole commits.
    fn apply(&self, response: WatchResponse) {
        let documents = {
            let mut catalogue = self.catalogue.write();
            catalogue.apply(response.documents, response.version);
            catalogue.len()
        };
        self.metrics.documents.set(documents as i64);
        self.metrics.version.set(response.version as i64);
        self.progress.send_modify(|progress| {
            progress.version = progress.version.max(response.version);
            progress.is_current |= response.is_current;
        });
    }
}
