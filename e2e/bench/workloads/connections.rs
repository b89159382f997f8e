//! Idle subscribers of one server, each on a connection of its own and of a topic of its own: resident memory for
//! each, and how many a second are taken, with the check of their key and the receipt of their subscription. With
//! and without TLS, beside an idle subscriber of mosquitto and of NATS.
//!
//! At most 5 KiB for MQTT and WebSocket, 12 KiB for event streams, 16 KiB for gRPC; 12 KiB more with TLS; 10,000 a
//! second without it. The clients are on the same cores.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_e2e::{cluster::Setup, usage::Usage};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use crate::{
    Scale,
    door::{self, Door},
    progress,
    row::Row,
    service::{Owner, Service},
    tls,
};

pub const NAME: &str = "connections";

/// The first connections, whose part in what is needed for all is not counted.
const FIRST: usize = 500;
/// Connections that are being opened at once.
const OPENING: usize = 64;
/// In which the allocator gives back what the opening has taken.
const SETTLE: Duration = Duration::from_secs(15);
/// How much more memory a connection with TLS may take, in KiB.
const TLS_KIB_MAX: f64 = 12.0;
/// Connections a second.
const RATE_MIN: f64 = 10_000.0;

const RIVALS: [(Owner, Door); 2] = [
    (Owner::Mosquitto, Door::Mqtt),
    (Owner::Nats, Door::NatsWebSocket),
];

/// What connections cost.
struct Cost {
    name: String,
    each_kib: f64,
    resident_mib: f64,
    per_second: f64,
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 1_000 } else { 10_000 };
    let row = |door: Door, with: &str, cost: &Cost| {
        let workload = format!("{count} idle connections, {}{with}", door.name());
        let note = format!("opened; {:.1} KiB each", cost.each_kib);
        let (name, rate) = (&cost.name, cost.per_second);
        progress(&format!("{name}, {workload}: {rate:.0}/s {note}"));
        Row {
            per_second: Some(rate),
            resident_mib: Some(cost.resident_mib),
            ..Row::note(&workload, name, note)
        }
    };
    let mut rows = Vec::new();
    for door in Door::ALL {
        let plain = measure((Owner::Highwater, door), false, count).await?;
        let kib_max = door.idle_kib_max();
        let is_met = plain.each_kib <= kib_max && plain.per_second >= RATE_MIN;
        let goal = format!("≤ {kib_max} KiB, {RATE_MIN}/s");
        rows.push(row(door, "", &plain).with_goal(goal, is_met));
        let tls = measure((Owner::Highwater, door), true, count).await?;
        let more = tls.each_kib - plain.each_kib;
        let goal = format!("≤ {TLS_KIB_MAX} KiB more");
        rows.push(row(door, ", TLS", &tls).with_goal(goal, more <= TLS_KIB_MAX));
    }
    for (owner, door) in RIVALS.into_iter().filter(|_| scale.with_rivals) {
        match measure((owner, door), false, count).await {
            Ok(cost) => rows.push(row(door, "", &cost)),
            Err(error) => progress(&format!("without {owner:?}: {error:#}")),
        }
    }
    Ok(rows)
}

/// All connections are to the first server, and what it needs is counted.
async fn measure((owner, door): (Owner, Door), tls: bool, count: usize) -> Result<Cost> {
    let setup = Setup {
        nodes: 1,
        tls,
        ..Setup::default()
    };
    let service = Service::start_with(owner, door, setup).await?;
    let server = &service.pids()[..1];
    let connector = service.authority().map(|file| tls::connector(&file));
    let connector = connector.transpose()?;
    let mut idle = JoinSet::new();
    let mut open = async |from: usize, count: usize| -> Result<()> {
        let opening = (from..from + count).map(|number| {
            let topic = format!("idle/{number}");
            subscribe(&service, door, connector.as_ref(), topic)
        });
        let opened: Vec<Box<dyn Socket>> = stream::iter(opening)
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        for socket in opened {
            idle.spawn(stay(socket));
        }
        Ok(())
    };
    open(0, FIRST).await?;
    sleep(SETTLE).await;
    let before = Usage::of(server)?.resident_bytes;
    let start = Instant::now();
    open(FIRST, count).await?;
    let per_second = count as f64 / start.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let after = Usage::of(server)?.resident_bytes;
    let ended = idle.try_join_next();
    ensure!(ended.is_none(), "an idle connection has ended: {ended:?}");
    Ok(Cost {
        name: service.to_string(),
        each_kib: after.saturating_sub(before) as f64 / count as f64 / 1024.0,
        resident_mib: after as f64 / f64::from(1 << 20),
        per_second,
    })
}

/// With or without TLS.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

async fn subscribe(
    service: &Service,
    door: Door,
    tls: Option<&TlsConnector>,
    topic: String,
) -> Result<Box<dyn Socket>> {
    let address = service.address(0);
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut socket: Box<dyn Socket> = match tls {
        None => Box::new(socket),
        Some(tls) => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            Box::new(tls.connect(host.to_owned().try_into()?, socket).await?)
        }
    };
    let peer = (address, service.key());
    door.subscribe(&mut socket, peer, &topic).await?;
    Ok(socket)
}

/// Is there, and no more.
async fn stay(mut socket: Box<dyn Socket>) -> Result<()> {
    let mut buf = [0; 64];
    loop {
        let read = socket.read(&mut buf).await?;
        if read == 0 {
            bail!("it was closed");
        }
        if let Some(pong) = door::pong(&buf[..read]) {
            door::send(&mut socket, &pong).await?;
        }
    }
}
