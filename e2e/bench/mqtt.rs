//! Publishers and subscribers of MQTT 3.1.1 with QoS 1, in sessions that stay: the same for every server, and as
//! cheap as can be, so that what is measured is the servers'.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use hdrhistogram::Histogram;
use highwater_e2e::mqtt::{self, Mqtt};
use highwater_mqtt::{
    Frame, Kind, Limits, Packet, PacketId, Qos, Version,
    packet::publish::{Delivery, Publish},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

const VERSION: Version = Version::V3_1_1;
const LIMITS: Limits = Limits {
    packet_bytes_max: 1 << 20,
    user_properties_max: 0,
    filters_max: 1,
};
/// In which a session is asked for again: a rival that replicates each of them is busy for a while.
const OPENING_MAX: Duration = Duration::from_secs(120);
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// The flag of a PUBLISH that may have been sent before.
const DUP: u8 = 0b1000;

/// What all clients of a load count together.
#[derive(Debug, Default)]
pub struct Counts {
    pub sent: AtomicU64,
    pub came: AtomicU64,
}

/// A connection to a session.
pub struct Session {
    stream: TcpStream,
    buf: BytesMut,
}

/// What a publisher sends, and how much of it before it waits.
#[derive(Debug)]
pub struct Load {
    pub topic: String,
    pub payload_bytes: usize,
    /// Unacknowledged messages.
    pub in_flight: usize,
    /// How many messages of all publishers may be on their way to their subscribers.
    pub undelivered_max: u64,
    /// To how many subscribers each goes.
    pub copies: u64,
}

impl Session {
    /// Connects to the session of this name, and subscribes it to a filter.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn open(
        (address, key): (&str, &str),
        name: &str,
        filter: Option<&str>,
    ) -> Result<Session> {
        let mut connect = mqtt::connect(VERSION, name, key);
        connect.clean_start = false;
        let deadline = Instant::now() + OPENING_MAX;
        loop {
            let attempt = async {
                let mut client = Mqtt::open(address, connect.clone()).await?;
                if let Some(filter) = filter {
                    let filters = [(filter, Qos::AtLeastOnce)];
                    client.subscribe(&filters, None).await?;
                }
                let (stream, buf) = client.into_stream();
                Ok(Session { stream, buf })
            };
            match attempt.await {
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(200)).await,
                outcome => return outcome,
            }
        }
    }

    /// Acknowledges and counts what comes.
    ///
    /// # Errors
    /// When the connection ends, or something comes twice.
    pub async fn count(mut self, counts: &Counts) -> Result<()> {
        let mut acks = Vec::new();
        loop {
            let mut messages = 0;
            while let Some(frame) = Frame::take(&mut self.buf, &LIMITS)? {
                ensure!(frame.kind == Kind::Publish, "{frame:?} is no PUBLISH");
                ensure!(frame.flags & DUP == 0, "a message was sent again");
                let body = &frame.body;
                let topic_len = usize::from(u16_at(body, 0)?);
                acks.extend([0x40, 2]);
                acks.put_u16(u16_at(body, 2 + topic_len)?);
                messages += 1;
            }
            counts.came.fetch_add(messages, Ordering::Relaxed);
            self.stream.write_all(&acks).await?;
            acks.clear();
            self.read().await?;
        }
    }

    /// Publishes until the end, and waits until everything was acknowledged. Returns how long each ack took, in
    /// nanoseconds.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn publish(
        &mut self,
        load: &Load,
        counts: &Counts,
        end: Instant,
    ) -> Result<Histogram<u64>> {
        let mut latencies = Histogram::new(3)?;
        let (packet, id_at) = packet(load)?;
        let mut free: Vec<usize> = (0..load.in_flight).rev().collect();
        let mut sent_at = vec![None; load.in_flight];
        let mut out = Vec::new();
        loop {
            let is_over = Instant::now() >= end;
            while !is_over && counts.has_room(load) {
                let Some(slot) = free.pop() else { break };
                counts.sent.fetch_add(1, Ordering::Relaxed);
                sent_at[slot] = Some(Instant::now());
                let from = out.len();
                out.extend(&packet);
                let id = u16::try_from(slot + 1)?.to_be_bytes();
                out[from + id_at..][..2].copy_from_slice(&id);
            }
            self.stream.write_all(&out).await?;
            out.clear();
            if free.len() == load.in_flight {
                if is_over {
                    return Ok(latencies);
                }
                // Subscribers are behind.
                sleep(Duration::from_millis(1)).await;
                continue;
            }
            self.read().await?;
            while let Some(frame) = Frame::take(&mut self.buf, &LIMITS)? {
                ensure!(frame.kind == Kind::PubAck, "{frame:?} is no PUBACK");
                let slot = usize::from(u16_at(&frame.body, 0)?).wrapping_sub(1);
                let sent = sent_at.get_mut(slot).and_then(Option::take);
                let sent = sent.context("an ack of what was not sent")?;
                latencies.record(sent.elapsed().as_nanos() as u64)?;
                free.push(slot);
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.buf.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.buf).await? == 0 {
            bail!("the connection has ended");
        }
        Ok(())
    }
}

impl Counts {
    fn has_room(&self, load: &Load) -> bool {
        let delivered = self.came.load(Ordering::Relaxed) / load.copies;
        let sent = self.sent.load(Ordering::Relaxed);
        sent.saturating_sub(delivered) < load.undelivered_max
    }
}

/// A PUBLISH, and where its identifier stands.
fn packet(load: &Load) -> Result<(BytesMut, usize)> {
    let id = PacketId::new(1).expect("not 0");
    let delivery = Delivery::AtLeastOnce { id, dup: false };
    let payload = Bytes::from(vec![b'x'; load.payload_bytes]);
    let publish = Publish::new(mqtt::name(&load.topic), delivery, payload);
    let mut packet = BytesMut::new();
    Packet::Publish(publish).encode(VERSION, &mut packet)?;
    let id_at = packet.len() - load.payload_bytes - 2;
    Ok((packet, id_at))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let pair = bytes.get(at..at + 2).context("a packet is too short")?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}
