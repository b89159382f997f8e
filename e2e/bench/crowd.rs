//! Many subscribers that count what comes and look at nothing else of it.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_e2e::usage::Usage;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use crate::{
    arrivals,
    service::{Publisher, Service},
};

mod tally;

use tally::{MARK, Tally};

/// Subscriptions that are being made at once.
const OPENING: usize = 64;
/// In which servers tell each other of subscriptions and tidy up after them.
const SETTLE: Duration = Duration::from_secs(2);

/// Subscribers of one topic, spread over the servers.
pub struct Crowd {
    came: Arc<AtomicU64>,
    tasks: JoinSet<Result<()>>,
}

/// How a publisher goes on.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many messages a second, one by one.
    PerSecond(f64),
    /// So many messages at once, and the next as soon as everyone has them.
    Bursts(usize),
}

/// What came to a crowd, and what that cost.
#[derive(Debug, Clone, Copy)]
pub struct Deliveries {
    /// Deliveries a second.
    pub per_second: f64,
    /// CPU time of all servers for each, in microseconds.
    pub cpu_us: f64,
}

impl Crowd {
    /// Subscribes so many.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn open(service: &Service, size: usize) -> Result<Crowd> {
        let sockets: Vec<TcpStream> = stream::iter((0..size).map(|n| service.subscribe(n)))
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        let came = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tasks.spawn(count(socket, came.clone()));
        }
        sleep(SETTLE).await;
        Ok(Crowd { came, tasks })
    }

    /// Publishes to them for a while, until everything has come to everyone.
    ///
    /// # Errors
    /// When something does not come, or comes twice.
    pub async fn measure(
        &mut self,
        (service, publisher): (&Service, &mut Publisher),
        payload_bytes: usize,
        pace: Pace,
        seconds: f64,
    ) -> Result<Deliveries> {
        let mark = str::from_utf8(MARK)?;
        let payload = "x".repeat(payload_bytes - mark.len()) + mark;
        let size = self.tasks.len() as u64;
        // Whatever is done for the first message only is done.
        let mut due = self.came.load(Ordering::Relaxed) + size;
        publisher.publish(&payload, 1).await?;
        arrivals::all(&self.came, due, &mut self.tasks).await?;

        let (from, before) = (due, Usage::of(&service.pids())?);
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            match pace {
                Pace::PerSecond(rate) => {
                    let next = (due - from) as f64 / size as f64 / rate;
                    sleep(Duration::from_secs_f64(next).saturating_sub(start.elapsed())).await;
                    publisher.publish(&payload, 1).await?;
                    due += size;
                }
                Pace::Bursts(messages) => {
                    publisher.publish(&payload, messages).await?;
                    due += size * messages as u64;
                    arrivals::all(&self.came, due, &mut self.tasks).await?;
                }
            }
        }
        arrivals::all(&self.came, due, &mut self.tasks).await?;
        let took = start.elapsed().as_secs_f64();
        let cpu_us = (Usage::of(&service.pids())? - before).cpu_us;
        let deliveries = (due - from) as f64;
        Ok(Deliveries {
            per_second: deliveries / took,
            cpu_us: cpu_us / deliveries,
        })
    }
}

async fn count(mut socket: TcpStream, came: Arc<AtomicU64>) -> Result<()> {
    let mut tally = Tally::default();
    loop {
        let messages = poll_fn(|context| poll_count(&mut socket, &mut tally, context)).await?;
        came.fetch_add(messages, Ordering::Relaxed);
    }
}

fn poll_count(
    socket: &mut TcpStream,
    tally: &mut Tally,
    context: &mut Context<'_>,
) -> Poll<Result<u64>> {
    // One for all subscribers of a thread: each with its own would need more memory than its server.
    thread_local!(static BUF: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]));
    BUF.with_borrow_mut(|buf| {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(socket).poll_read(context, &mut buf))?;
        Poll::Ready(match buf.filled() {
            [] => Err(anyhow!("its connection was closed")),
            bytes => Ok(tally.add(bytes)),
        })
    })
}
