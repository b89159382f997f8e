//! The read side of a shard on this node.
//!
//! What is in memory is answered at once; what may touch the disk is read on a thread that may
//! block, a bounded number at a time. Callers who wait for the frontier share a round: one question
//! to the leader answers everyone who was waiting when it was asked.

use std::sync::Arc;

use highwater_broker::{
    handle::{ReadRequest, Reply},
    refusal::{Refusal, Result},
};
use highwater_proto::{
    ErrorCode,
    limits::{DISK_READS_MAX, FRONTIER_QUEUE_MAX},
};
use highwater_storage::store::ReadError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{Blocking, replica::Replica, task::Tasks};

/// The task behind the read queue of one shard.
pub struct Reads {
    /// The replica that is read.
    pub replica: Arc<Replica>,
    /// Where blocking reads run.
    pub blocking: Blocking,
    /// Where the tasks run.
    pub tasks: Tasks,
}

impl Reads {
    /// Runs until the queue is closed.
    pub async fn run(self, mut queue: mpsc::Receiver<ReadRequest>) {
        let (frontier, waiting) = mpsc::channel(FRONTIER_QUEUE_MAX);
        let rounds = frontier_rounds(self.replica.clone(), waiting);
        self.tasks.spawn("frontier", rounds);
        let disk = Arc::new(Semaphore::new(DISK_READS_MAX));
        while let Some(request) = queue.recv().await {
            match request {
                ReadRequest::Frontier { reply } => {
                    if let Err(full) = frontier.try_send(reply) {
                        let refusal = Refusal::new(ErrorCode::Overloaded, "too many readers wait");
                        let _ = full.into_inner().send(Err(refusal.retry_after_ms(200)));
                    }
                }
                ReadRequest::Topic {
                    project,
                    topic,
                    reply,
                } => {
                    let _ = reply.send(Ok(self.replica.store.topic(project, &topic)));
                }
                // As most subscriptions begin: they need no thread that may block.
                at_end if self.is_at_end(&at_end) => serve(&self.replica, at_end),
                disk_read => {
                    let Ok(permit) = disk.clone().acquire_owned().await else {
                        return;
                    };
                    self.read(disk_read, permit);
                }
            }
        }
    }

    fn is_at_end(&self, request: &ReadRequest) -> bool {
        match request {
            ReadRequest::ReadTopic {
                project,
                topic,
                incarnation,
                offset,
                ..
            } => {
                let store = &self.replica.store;
                store.is_at_end(*project, topic, *incarnation, *offset)
            }
            _ => false,
        }
    }

    fn read(&self, request: ReadRequest, permit: OwnedSemaphorePermit) {
        let replica = self.replica.clone();
        let read = move || {
            serve(&replica, request);
            drop(permit);
        };
        match self.blocking {
            Blocking::Threads => drop(tokio::task::spawn_blocking(read)),
            Blocking::Inline => read(),
        }
    }
}

/// Answers a request from storage.
fn serve(replica: &Replica, request: ReadRequest) {
    let store = &replica.store;
    match request {
        ReadRequest::Frontier { reply } => answer(reply, Ok(replica.tail.next_position())),
        ReadRequest::Topic {
            project,
            topic,
            reply,
        } => answer(reply, Ok(store.topic(project, &topic))),
        ReadRequest::Topics {
            project,
            filters,
            after,
            limit,
            reply,
        } => answer(
            reply,
            Ok(store.topics(project, &filters, after.as_ref(), limit)),
        ),
        ReadRequest::TopicTime {
            project,
            topic,
            time_ms,
            reply,
        } => answer(
            reply,
            store
                .topic_time(project, &topic, time_ms)
                .map_err(|e| refuse(e.into())),
        ),
        ReadRequest::ReadTopic {
            project,
            topic,
            incarnation,
            offset,
            limits,
            reply,
        } => {
            let page = store.read_topic(project, &topic, incarnation, offset, limits);
            answer(reply, page.map_err(refuse));
        }
        ReadRequest::ReadFeed {
            project,
            filters,
            position,
            limits,
            reply,
        } => {
            let page = store.read_feed(project, &filters, position, limits);
            answer(reply, page.map_err(refuse));
        }
        ReadRequest::SeekFeed {
            project,
            filters,
            to,
            reply,
        } => answer(
            reply,
            store.seek_feed(project, &filters, to).map_err(refuse),
        ),
        ReadRequest::RetainedRecords {
            project,
            filters,
            positions,
            limits,
            reply,
        } => {
            let page = store.retained_records(project, &filters, positions, limits);
            answer(reply, page.map_err(refuse));
        }
        ReadRequest::Usage {
            project,
            hours,
            reply,
        } => answer(
            reply,
            store.usage(project, hours).map_err(|e| refuse(e.into())),
        ),
    }
}

/// The caller may have gone.
fn answer<T>(reply: Reply<T>, result: Result<T>) {
    let _ = reply.send(result);
}

fn refuse(error: ReadError) -> Refusal {
    if let ReadError::Store(error) = &error {
        // The client learns that this replica cannot answer; what is wrong is for the operator.
        tracing::error!(%error, "a read from storage failed");
    }
    error.into_refusal()
}

/// Asks for the frontier again and again, as long as anyone waits for it.
async fn frontier_rounds(replica: Arc<Replica>, mut waiting: mpsc::Receiver<Reply<u64>>) {
    let mut callers = Vec::new();
    while waiting.recv_many(&mut callers, FRONTIER_QUEUE_MAX).await > 0 {
        let frontier = replica.frontier().await;
        for caller in callers.drain(..) {
            answer(caller, frontier.clone());
        }
    }
}
