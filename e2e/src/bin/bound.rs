//! The bound: the least a program can do that replicates to three nodes and syncs a majority before each ack.
//!
//! No consensus, no topics, no reads and no recovery. The leader takes what is queued as one batch,
//! writes it to a preallocated file, syncs it while both followers do the same, and acknowledges once
//! one of them has answered. What Highwater costs beyond this is what its promises cost.
//!
//! ```text
//! client → leader    count u32 │ size u32 │ count × size bytes      leader → client    count u32
//! leader → follower  length u32 │ bytes                             follower → leader  one byte
//! ```

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Write, stdout},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use highwater_e2e::report::LoadReport;

/// Bytes of the file that is written over and over, as a log that recycles its segments would be.
const FILE_BYTES: u64 = 256 << 20;

#[derive(Parser)]
enum Command {
    /// Run one of the three processes. Prints its address when ready.
    Serve {
        /// Where to write.
        #[arg(long)]
        file: PathBuf,
        /// The followers; a process without any is a follower.
        #[arg(long)]
        follower: Vec<SocketAddr>,
    },
    /// Publish to the leader and print the result as one line of JSON.
    Load {
        /// The leader.
        #[arg(long)]
        leader: SocketAddr,
        /// Connections that publish.
        #[arg(long)]
        publishers: usize,
        /// Unacknowledged messages of each publisher.
        #[arg(long)]
        in_flight: u32,
        /// Payload bytes.
        #[arg(long)]
        size: u32,
        /// How long to publish.
        #[arg(long)]
        seconds: f64,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Serve { file, follower } => {
            let log = Log::preallocate(&file)?;
            let listener = TcpListener::bind("127.0.0.1:0")?;
            writeln!(stdout(), "{}", listener.local_addr()?)?;
            match follower.is_empty() {
                true => follow(&listener, log),
                false => lead(&listener, log, &follower),
            }
        }
        Command::Load {
            leader,
            publishers,
            in_flight,
            size,
            seconds,
        } => {
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            let report = load(leader, publishers, in_flight, size, end)?;
            writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
            Ok(())
        }
    }
}

/// A file whose blocks exist before the first batch, so that a sync has no metadata to write.
struct Log {
    file: File,
    position: u64,
}

impl Log {
    fn preallocate(path: &Path) -> Result<Log> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        // Page by page: the kernel accounts a write as all of the folio it touches, and large writes
        // make large folios.
        let zeros = vec![0; 4 << 10];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Log { file, position: 0 })
    }

    fn write(&mut self, batch: &[u8]) -> Result<()> {
        if self.position + batch.len() as u64 > FILE_BYTES {
            self.position = 0;
        }
        self.file.write_all_at(batch, self.position)?;
        self.position += batch.len() as u64;
        Ok(())
    }
}

fn follow(listener: &TcpListener, mut log: Log) -> Result<()> {
    let (mut leader, _) = listener.accept()?;
    leader.set_nodelay(true)?;
    let mut batch = Vec::new();
    loop {
        let bytes = read_u32(&mut leader)? as usize;
        batch.resize(bytes, 0);
        leader.read_exact(&mut batch)?;
        log.write(&batch)?;
        log.file.sync_data()?;
        leader.write_all(&[1])?;
    }
}

/// What came in since the last batch was taken.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Whom to acknowledge how many.
    acks: Vec<(Arc<TcpStream>, u32)>,
}

#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

fn lead(listener: &TcpListener, log: Log, followers: &[SocketAddr]) -> Result<()> {
    let inbox = Arc::new(Inbox::default());
    let followers = followers.iter().map(|address| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    });
    let followers = followers.collect::<Result<Vec<TcpStream>>>()?;
    let batches = inbox.clone();
    thread::spawn(move || commit_batches(&batches, log, followers));
    for client in listener.incoming() {
        let client = Arc::new(client?);
        client.set_nodelay(true)?;
        let inbox = inbox.clone();
        // A client that goes away ends its thread; nothing else depends on it.
        thread::spawn(move || take_publishes(&client, &inbox));
    }
    Ok(())
}

fn take_publishes(client: &Arc<TcpStream>, inbox: &Inbox) -> Result<()> {
    let mut payloads = Vec::new();
    loop {
        let count = read_u32(&mut client.as_ref())?;
        let size = read_u32(&mut client.as_ref())?;
        payloads.resize(count as usize * size as usize, 0);
        client.as_ref().read_exact(&mut payloads)?;
        let mut queue = inbox.queue.lock().unwrap();
        queue.bytes.extend_from_slice(&payloads);
        queue.acks.push((client.clone(), count));
        drop(queue);
        inbox.arrived.notify_one();
    }
}

fn commit_batches(inbox: &Inbox, mut log: Log, followers: Vec<TcpStream>) -> Result<()> {
    let (synced_tx, synced) = mpsc::channel();
    for (index, follower) in followers.iter().enumerate() {
        let (mut follower, synced_tx) = (follower.try_clone()?, synced_tx.clone());
        thread::spawn(move || -> Result<()> {
            loop {
                follower.read_exact(&mut [0])?;
                synced_tx.send(index)?;
            }
        });
    }
    let mut answers = vec![0u64; followers.len()];
    let mut batch = Queue::default();
    for number in 1u64.. {
        batch.bytes.clear();
        let queue = inbox.queue.lock().unwrap();
        let empty = |queue: &mut Queue| queue.acks.is_empty();
        let mut queue = inbox.arrived.wait_while(queue, empty).unwrap();
        mem::swap(&mut *queue, &mut batch);
        drop(queue);

        for mut follower in &followers {
            follower.write_all(&(batch.bytes.len() as u32).to_le_bytes())?;
            follower.write_all(&batch.bytes)?;
        }
        log.write(&batch.bytes)?;
        log.file.sync_data()?;
        while answers.iter().all(|answered| *answered < number) {
            answers[synced.recv()?] += 1;
        }
        for (client, count) in batch.acks.drain(..) {
            // The error of a client that has gone away is noticed by its own thread.
            let _ = client.as_ref().write_all(&count.to_le_bytes());
        }
    }
    Ok(())
}

fn load(
    leader: SocketAddr,
    publishers: usize,
    in_flight: u32,
    size: u32,
    end: Instant,
) -> Result<LoadReport> {
    let start = Instant::now();
    let threads: Vec<_> = (0..publishers)
        .map(|_| thread::spawn(move || publish(leader, in_flight, size, end)))
        .collect();
    let mut latencies = Histogram::new(3)?;
    for thread in threads {
        latencies += thread.join().expect("a publisher does not panic")?;
    }
    Ok(LoadReport::new(&latencies, start.elapsed()))
}

fn publish(leader: SocketAddr, in_flight: u32, size: u32, end: Instant) -> Result<Histogram<u64>> {
    let mut leader = TcpStream::connect(leader)?;
    leader.set_nodelay(true)?;
    let mut latencies = Histogram::new(3)?;
    let mut waiting: VecDeque<(Instant, u32)> = VecDeque::new();
    let mut room = in_flight;
    let mut frame = Vec::new();
    loop {
        if room > 0 && Instant::now() < end {
            frame.clear();
            frame.extend_from_slice(&room.to_le_bytes());
            frame.extend_from_slice(&size.to_le_bytes());
            frame.resize(frame.len() + (room * size) as usize, b'x');
            waiting.push_back((Instant::now(), mem::take(&mut room)));
            leader.write_all(&frame)?;
        }
        if waiting.is_empty() {
            return Ok(latencies);
        }
        let mut acked = read_u32(&mut leader)?;
        room += acked;
        while acked > 0 {
            let (sent, count) = waiting.front_mut().context("an ack of nothing")?;
            let done = acked.min(*count);
            let nanos = sent.elapsed().as_nanos() as u64;
            latencies.record_n(nanos, u64::from(done))?;
            acked -= done;
            *count -= done;
            if *count == 0 {
                waiting.pop_front();
            }
        }
    }
}

fn read_u32(stream: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
