//! One subscriber: counts what it gets, how late, and whether an offset is missing or repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use highwater_proto::client::{
    SubscribeRequest,
    subscribe_request::{Request, Start},
};
use http::uri::PathAndQuery;
use tokio::sync::oneshot;
use tonic_prost::ProstCodec;

use super::{Run, wire::Delivery};

/// What all subscribers found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Offsets that were skipped.
    pub missing: AtomicU64,
    /// Offsets that came again or out of order.
    pub repeated: AtomicU64,
    /// Gaps the server told of.
    pub gaps: AtomicU64,
    /// Records received at any time.
    pub received: AtomicU64,
}

/// Follows one filter to the end of the run, from its last cursor when a connection ends. Says `live`
/// when the first receipt came.
pub async fn follow(run: Arc<Run>, index: usize, live: oneshot::Sender<()>) {
    let mut subscriber = Subscriber {
        index,
        from: "latest".into(),
        live: Some(live),
        next_offsets: HashMap::new(),
    };
    for attempt in 0.. {
        if let Err(error) = subscriber.receive(&run, attempt).await {
            run.complain("subscriber", &error);
        }
        if subscriber.live.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Subscriber {
    index: usize,
    from: String,
    live: Option<oneshot::Sender<()>>,
    /// The offset that comes next, by hash of the topic.
    next_offsets: HashMap<u64, u64>,
}

impl Subscriber {
    async fn receive(&mut self, run: &Run, attempt: usize) -> anyhow::Result<()> {
        let start = SubscribeRequest {
            request: Some(Request::Start(Start {
                topics: vec![run.filter(self.index)],
                from: self.from.clone(),
                credit: None,
                group: String::new(),
            })),
        };
        let mut grpc = run.grpc(self.index, attempt);
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/highwater.client.v1.Highwater/Subscribe");
        let codec = ProstCodec::<SubscribeRequest, Delivery>::default();
        let requests = tonic::Request::new(stream::iter([start]).chain(stream::pending()));
        let mut responses = grpc.streaming(requests, path, codec).await?.into_inner();
        while let Some(delivery) = responses.message().await? {
            self.on_delivery(run, &delivery)?;
            if delivery.is_draining {
                return Ok(());
            }
        }
        anyhow::bail!("the server ended the subscription")
    }

    fn on_delivery(&mut self, run: &Run, delivery: &Delivery) -> anyhow::Result<()> {
        let now = run.clock.now();
        if delivery.is_receipt
            && let Some(live) = self.live.take()
        {
            let _ = live.send(());
        }
        if !delivery.cursor.is_empty() {
            self.from.clear();
            self.from.push_str("cursor:");
            self.from.push_str(std::str::from_utf8(&delivery.cursor)?);
        }
        let findings = &run.findings;
        if let Some(gap) = &delivery.gap {
            findings.gaps.fetch_add(1, Ordering::Relaxed);
            eprintln!("gap: {} to {}", gap.requested, gap.first_available);
        }
        for record in &delivery.records {
            let next = self.next_offsets.entry(record.topic).or_insert(0);
            if record.offset < *next {
                findings.repeated.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let skipped = record.offset - *next;
            findings.missing.fetch_add(skipped, Ordering::Relaxed);
            *next = record.offset + 1;
        }
        let stamps = delivery.records.iter().map(|record| record.stamp);
        run.deliveries.record(self.index, now, stamps);
        let count = delivery.records.len() as u64;
        findings.received.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits until so many records have been received, or none has come for a while.
pub async fn settle(findings: &Findings, expected: u64) {
    let mut last = findings.received.load(Ordering::Relaxed);
    let mut quiet = 0;
    while last < expected && quiet < 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let received = findings.received.load(Ordering::Relaxed);
        quiet = if received == last { quiet + 1 } else { 0 };
        last = received;
    }
}
