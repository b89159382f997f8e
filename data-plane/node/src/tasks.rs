//! The one way to start a task: it has a name, and how it ended is never lost.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error};

/// The background tasks of a node, which end when it stops.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts a task that is dropped when the node stops. An error or a panic of it stops nothing
    /// else and is logged.
    pub fn spawn<E: std::fmt::Display>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            match stop.run_until_cancelled_owned(task).await {
                None => debug!(task = name, "stopped"),
                Some(Ok(())) => debug!(task = name, "ended"),
                Some(Err(error)) => error!(task = name, %error, "task failed"),
            }
        });
    }

    /// Ends all tasks and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
