//! The one way to start a task: it has a name, and how it ended is never lost.

use std::{fmt::Display, future::Future};

use hyper::rt::Executor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, error};

/// What happens to a task when its group is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It is dropped where it waits.
    Drop,
    /// It runs to its end, and whoever stops the group waits for that.
    Finish,
}

/// Tasks that end together.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts a task. An error of it stops nothing else and is logged.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        on_stop: OnStop,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        let span = tracing::debug_span!("task", name);
        let guarded = async move {
            let ended = match on_stop {
                OnStop::Finish => Some(task.await),
                OnStop::Drop => stop.run_until_cancelled(task).await,
            };
            match ended {
                None => debug!(task = name, "stopped"),
                Some(Ok(())) => debug!(task = name, "ended"),
                Some(Err(error)) => error!(task = name, %error, "task failed"),
            }
        };
        self.tracker.spawn(guarded.instrument(span));
    }

    /// Drops what may be dropped, and resolves when every task has ended.
    pub async fn stop(&self) {
        self.stop.cancel();
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
        let task = async move {
            task.await;
            Ok::<(), std::convert::Infallible>(())
        };
        self.spawn("http2 stream", OnStop::Drop, task);
    }
}
