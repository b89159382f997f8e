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

/// Follows one filter from its first record to the end of the run. Says `live` when the receipt came.
pub async fn follow(run: Arc<Run>, index: usize, live: oneshot::Sender<()>) {
    let mut live = Some(live);
    if let Err(error) = receive(&run, index, &mut live).await {
        // A subscriber that comes back would need its cursor, which is not decoded here: what it does
        // not get is reported as missing.
        run.complain("subscriber", &error);
    }
}

async fn receive(
    run: &Run,
    index: usize,
    live: &mut Option<oneshot::Sender<()>>,
) -> anyhow::Result<()> {
    let start = SubscribeRequest {
        request: Some(Request::Start(Start {
            topics: vec![run.filter(index)],
            from: "latest".into(),
            credit: None,
        })),
    };
    let mut grpc = run.grpc(index, 0);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/highwater.client.v1.Highwater/Subscribe");
    let codec = ProstCodec::<SubscribeRequest, Delivery>::default();
    let requests = tonic::Request::new(stream::iter([start]).chain(stream::pending()));
    let mut responses = grpc.streaming(requests, path, codec).await?.into_inner();
    let mut next_offsets: HashMap<u64, u64> = HashMap::new();
    while let Some(delivery) = responses.message().await? {
        let now = run.clock.now();
        if delivery.is_receipt
            && let Some(live) = live.take()
        {
            let _ = live.send(());
        }
        if let Some(gap) = &delivery.gap {
            run.findings.gaps.fetch_add(1, Ordering::Relaxed);
            eprintln!("gap: {} to {}", gap.requested, gap.first_available);
        }
        let count = delivery.records.len() as u64;
        for record in &delivery.records {
            let next = next_offsets.entry(record.topic).or_insert(0);
            if record.offset < *next {
                run.findings.repeated.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            run.findings
                .missing
                .fetch_add(record.offset - *next, Ordering::Relaxed);
            *next = record.offset + 1;
        }
        run.deliveries
            .record(index, now, delivery.records.iter().map(|r| r.stamp));
        run.findings.received.fetch_add(count, Ordering::Relaxed);
        anyhow::ensure!(!delivery.is_draining, "the server is about to stop");
    }
    Ok(())
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
