//! The one way to start a task: it has a name, and it is said what its end means.

use std::{convert::Infallible, fmt::Display, future::Future};

use futures_util::FutureExt;
use hyper::rt::Executor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// What happens to a task when its group is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// It is dropped where it waits.
    Drop,
    /// It runs to its end, and whoever stops the group waits for that.
    Finish,
}

/// What an error of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// A client's doing, of interest only when looking for it.
    Trace,
    /// A person must look.
    Report,
}

/// Tasks that end together.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        (on_cancel, on_error): (OnCancel, OnError),
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        // In memory of its own, once: what is around it would hold it twice, here and where it is run.
        let task = Box::pin(task);
        let cancel = self.cancel.clone();
        let span = tracing::debug_span!("task", name);
        let guarded = async move {
            let ended = match on_cancel {
                OnCancel::Finish => Some(task.await),
                OnCancel::Drop => cancel.run_until_cancelled(task).await,
            };
            match (ended, on_error) {
                (Some(Err(error)), OnError::Trace) => tracing::debug!(%error, "task ended"),
                (Some(Err(error)), OnError::Report) => tracing::error!(%error, "task failed"),
                (Some(Ok(())) | None, _) => {}
            }
        };
        self.tracker.spawn(guarded.instrument(span));
    }

    /// Drops what may be dropped, and resolves when every task has ended.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.finished().await;
    }

    /// Resolves when every task has ended. No more may be started then.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The tasks hyper starts for the streams of a connection belong to the connection's group.
impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        // Not in a block that waits for it: that would hold it twice.
        let task = task.map(|_| Ok::<(), Infallible>(()));
        self.spawn("http2 stream", (OnCancel::Drop, OnError::Trace), task);
    }
}
