//! `highwater bench`: a load generator that is cheap enough to share a machine with what it measures.

use std::{
    io::IsTerminal as _,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use highwater_node::process::Usage;
use highwater_proto::client::GetTopicRequest;
use tokio::{sync::oneshot, task::JoinSet};
use tonic::{client::Grpc, service::interceptor::InterceptedService, transport::Channel};

mod publisher;
mod recorder;
mod report;
mod subscriber;
mod wire;

use publisher::Pace;
use recorder::{Failures, Recorder, RunClock};
use report::{Deliveries, Latency, Report, Settings, milliseconds, per_second};
use subscriber::Findings;
use wire::{Encoder, STAMP_BYTES};

use crate::{
    client::{Credential, Server, ServerArgs},
    exit::Exit,
    output::Output,
};

/// Topics whose content is compared with what was acknowledged, at most.
const CHECKED_TOPICS_MAX: usize = 1_000;
/// Streams on one connection, below what servers allow.
const STREAMS_PER_CONNECTION: usize = 500;

/// Arguments of `highwater bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Messages a second over all publishers, sent on time whatever the server does; 0 is as many as
    /// fit in flight
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Bytes of payload
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Publishers, each with its own stream
    #[arg(long, default_value_t = 64)]
    publishers: usize,
    /// Unacknowledged messages of one publisher
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Subscribers; each follows one of the topics
    #[arg(long, default_value_t = 0)]
    subscribers: usize,
    /// Let every subscriber follow all topics through a filter
    #[arg(long)]
    wildcard: bool,
    /// Topics that the messages are spread over
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds to run before measuring
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Connections, dealt out to the servers in turn [default: two a server, more for many streams]
    #[arg(long)]
    connections: Option<usize>,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// What the names of the topics begin with [default: a new one each time]
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// What all tasks of a run share.
pub struct Run {
    server: Server,
    settings: Settings,
    clock: RunClock,
    /// What is measured, from and to; known when the subscribers are there. Nothing is sent after it.
    window: OnceLock<(u64, u64)>,
    encoder: Encoder,
    filters: Vec<String>,
    channels: Vec<Channel>,
    credential: Credential,
    acks: Recorder,
    deliveries: Recorder,
    failures: Failures,
    findings: Findings,
    complaints: Failures,
}

impl Run {
    fn send_until(&self) -> u64 {
        self.window.get().map_or(0, |window| window.1)
    }

    /// The client of a publisher or subscriber; another connection at each attempt.
    fn grpc(&self, index: usize, attempt: usize) -> Grpc<InterceptedService<Channel, Credential>> {
        let channel = &self.channels[(index + attempt) % self.channels.len()];
        Grpc::new(InterceptedService::new(
            channel.clone(),
            self.credential.clone(),
        ))
        .max_decoding_message_size(64 << 20)
    }

    /// What a subscriber follows.
    fn filter(&self, index: usize) -> String {
        self.filters[index % self.filters.len()].clone()
    }

    /// Says what a task suffers from, once for each kind.
    fn complain(&self, who: &str, error: &anyhow::Error) {
        let text = match error.downcast_ref::<tonic::Status>() {
            Some(status) => format!("{:?}: {}", status.code(), status.message()),
            None => format!("{error:#}"),
        };
        if self.complaints.add(&text) {
            eprintln!("{who}: {text}");
        }
    }
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    if args.publishers == 0 || args.in_flight == 0 || args.topics == 0 || args.threads == 0 {
        let message = "--publishers, --in-flight, --topics and --threads are at least 1";
        return Err(Exit::usage(message).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        .enable_all()
        .build()?;
    let report = runtime.block_on(async move {
        // On a worker like the rest, so that the main thread sleeps.
        let measured = tokio::spawn(measure(args));
        measured.await.context("the run was aborted")?
    })?;
    output.result(&report, || report.table())?;
    match report.is_sound() {
        true => Ok(()),
        false => anyhow::bail!("acknowledged messages were lost, repeated or not delivered"),
    }
}

async fn measure(args: Args) -> anyhow::Result<Report> {
    let run = Arc::new(prepare(&args).await?);
    let mut subscribers = JoinSet::new();
    let mut receipts = Vec::new();
    for index in 0..args.subscribers {
        let (live, receipt) = oneshot::channel();
        subscribers.spawn(subscriber::follow(run.clone(), index, live));
        receipts.push(receipt);
    }
    let live = join_all(receipts).await.iter().flatten().count();
    anyhow::ensure!(
        live == args.subscribers,
        "only {live} subscribers got their receipt"
    );

    let from = run.clock.now() + nanos(args.warmup);
    let to = from + nanos(args.duration);
    run.window.get_or_init(|| (from, to));
    run.acks.open((from, to));
    run.deliveries.open((from, to));
    let mut publishers = JoinSet::new();
    for index in 0..args.publishers {
        let pace = pace(&args, &run, index);
        publishers.spawn(publisher::publish(run.clone(), index, pace));
    }
    tokio::select! {
        () = show_progress(&run) => {}
        // Outcomes of the last messages may take a while, but not for ever.
        () = drain(&run, publishers) => {}
    }
    let stored = stored(&args, &run).await?;
    let deliveries = match args.subscribers {
        0 => None,
        _ => Some(deliveries(&args, &run, stored).await),
    };
    subscribers.shutdown().await;
    Ok(report(&args, &run, stored, deliveries))
}

fn nanos(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

/// Spreads the publishers over one interval, so that they do not all send at the same moment.
fn pace(args: &Args, run: &Run, index: usize) -> Pace {
    if args.rate <= 0.0 {
        return Pace::Closed;
    }
    let interval = 1e9 * args.publishers as f64 / args.rate;
    Pace::Open {
        interval,
        offset: run.clock.now() as f64 + interval * index as f64 / args.publishers as f64,
    }
}

async fn prepare(args: &Args) -> anyhow::Result<Run> {
    let server = args.server.resolve()?;
    let prefix = match &args.prefix {
        Some(prefix) => prefix.clone(),
        None => format!("bench/{:08x}", rand::random::<u32>()),
    };
    let topics: Vec<String> = (0..args.topics).map(|n| format!("{prefix}/{n}")).collect();
    let servers = server.servers.len();
    let streams = args.publishers + args.subscribers;
    let fewest = (2 * servers)
        .min(streams)
        .max(streams.div_ceil(STREAMS_PER_CONNECTION));
    let connections = args.connections.unwrap_or(fewest).max(1);
    let mut channels = Vec::with_capacity(connections);
    for index in 0..connections {
        let channel = server.endpoint(index)?.connect().await;
        let address = server.address(index);
        channels.push(channel.with_context(|| format!("cannot reach {address}"))?);
    }
    let mut payload = vec![0; args.size];
    rand::fill(&mut payload[..]);
    let is_stamped = args.subscribers > 0 && args.size >= STAMP_BYTES;
    Ok(Run {
        settings: Settings {
            servers: server.servers.clone(),
            connections,
            publishers: args.publishers,
            in_flight: args.in_flight,
            subscribers: args.subscribers,
            topics: args.topics,
            size: args.size,
            rate: args.rate,
            warmup_seconds: args.warmup,
        },
        clock: RunClock::start(),
        window: OnceLock::new(),
        encoder: Encoder::new(&topics, payload, is_stamped),
        filters: match args.wildcard {
            true => vec![format!("{prefix}/#")],
            false => topics,
        },
        channels,
        credential: server.credential()?,
        server,
        acks: Recorder::new(args.threads),
        deliveries: Recorder::new(args.threads),
        failures: Failures::default(),
        findings: Findings::default(),
        complaints: Failures::default(),
    })
}

/// Waits for the publishers, at most so long after the last message.
async fn drain(run: &Run, mut publishers: JoinSet<()>) {
    let give_up = run.clock.at(run.send_until()) + Duration::from_secs(15);
    let all = async { while publishers.join_next().await.is_some() {} };
    if tokio::time::timeout_at(give_up.into(), all).await.is_err() {
        eprintln!("some outcomes did not come within 15 s of the last message");
    }
}

/// A line each second, in place when stderr is a terminal. Never ends.
async fn show_progress(run: &Run) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut last = (run.clock.now(), 0, 0);
    loop {
        ticks.tick().await;
        let (acks, deliveries) = (run.acks.recent(), run.deliveries.recent());
        let now = run.clock.now();
        let seconds = (now - last.0) as f64 / 1e9;
        let rate = |total: u64, before: u64| (total - before) as f64 / seconds;
        let of = |q| milliseconds(acks.latency_us.value_at_quantile(q));
        let warm = run.window.get().is_some_and(|w| now < w.0);
        let mut line = format!(
            "{:>9.0} msg/s   p50 {}   p99 {}   p99.9 {}",
            rate(acks.total, last.1),
            of(0.5),
            of(0.99),
            of(0.999)
        );
        if run.settings.subscribers > 0 {
            line += &format!("   {:>9.0} deliveries/s", rate(deliveries.total, last.2));
        }
        if warm {
            line += "   (warming up)";
        }
        last = (now, acks.total, deliveries.total);
        match is_terminal {
            true => eprint!("\r\x1b[K{line}"),
            false => eprintln!("{line}"),
        }
    }
}

/// How many records the topics hold, if there are few enough of them to ask.
async fn stored(args: &Args, run: &Run) -> anyhow::Result<Option<u64>> {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    if args.topics > CHECKED_TOPICS_MAX || args.prefix.is_some() {
        return Ok(None);
    }
    let mut client = run.server.connect(0).await?;
    let mut stored = 0;
    for filter in topics(args, run) {
        let topic = GetTopicRequest { topic: filter };
        match client.get_topic(topic).await {
            Ok(topic) => stored += topic.into_inner().next_offset,
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(status).context("cannot ask what the topics hold"),
        }
    }
    Ok(Some(stored))
}

fn topics(args: &Args, run: &Run) -> Vec<String> {
    let name = |n| run.filters[0].replace('#', &format!("{n}"));
    match args.wildcard {
        true => (0..args.topics).map(name).collect(),
        false => run.filters.clone(),
    }
}

async fn deliveries(args: &Args, run: &Run, stored: Option<u64>) -> Deliveries {
    let acked = run.acks.recent().total;
    let readers = args.subscribers as u64;
    // Without the wildcard each record goes to the subscribers of its topic; evenly dealt out, that is
    // exact for one topic and for whole multiples.
    let expected = match (args.wildcard, stored) {
        (true, stored) => Some(stored.unwrap_or(acked) * readers),
        (false, Some(stored)) if args.topics == 1 => Some(stored * readers),
        (false, _) => None,
    };
    let findings = &run.findings;
    subscriber::settle(findings, expected.unwrap_or(u64::MAX)).await;
    let received = findings.received.load(Ordering::Relaxed);
    let skipped = findings.missing.load(Ordering::Relaxed);
    let latency = run.deliveries.whole();
    Deliveries {
        records: latency.len(),
        records_per_second: per_second(latency.len(), Duration::from_secs_f64(args.duration)),
        latency_us: (args.size >= STAMP_BYTES).then(|| Latency::of(&latency)),
        missing: skipped.max(expected.map_or(0, |expected| expected.saturating_sub(received))),
        repeated: findings.repeated.load(Ordering::Relaxed),
        gaps: findings.gaps.load(Ordering::Relaxed),
    }
}

fn report(args: &Args, run: &Run, stored: Option<u64>, deliveries: Option<Deliveries>) -> Report {
    let latency = run.acks.whole();
    let rate = per_second(latency.len(), Duration::from_secs_f64(args.duration));
    let acked = run.acks.recent().total;
    Report {
        settings: run.settings.clone(),
        seconds: args.duration,
        messages: latency.len(),
        messages_per_second: rate,
        megabytes_per_second: (rate * args.size as f64 / 1e4).round() / 100.0,
        ack_latency_us: Latency::of(&latency),
        ack_silence_ms_max: run.acks.silence_max() as f64 / 1e6,
        refused: run.failures.by_code(),
        unknown: run.failures.unknown.load(Ordering::Relaxed),
        lost: stored.map(|stored| acked.saturating_sub(stored)),
        deliveries,
        client_cpu_seconds: Usage::read().cpu_seconds,
    }
}
