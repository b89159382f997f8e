//! A client of the MQTT door: one connection, and what its session has to remember for the next one.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use highwater_mqtt::{
    Decoder, Limits, Packet, PacketId, Qos, ReasonCode, Text, Version,
    packet::{
        Ack, ConnAck, Connect, Publish, Subscribe,
        publish::{Delivery, Topic},
        subscribe::Subscription,
    },
    text::Binary,
    topic::{Filter, Name},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::refusal::{Refusal, ended};

/// How long the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits {
    packet_bytes_max: 16 << 20,
    user_properties_max: 256,
    filters_max: 256,
};

/// User property of a SUBSCRIBE: where to begin.
const FROM: &str = "hw-from";
/// User property of a message: its cursor.
const CURSOR: &str = "hw-cursor";

/// The client's half of a session (MQTT 5.0, section 4.1).
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Messages of QoS 2 that came and were not released.
    received: BTreeSet<PacketId>,
    /// Messages that were sent and are not done, in order.
    sent: VecDeque<Sent>,
    last_id: u16,
}

#[derive(Debug, Clone)]
struct Sent {
    id: PacketId,
    publish: Publish,
    /// The server has it: what is left is to release its identifier.
    is_received: bool,
}

/// What a packet meant for the client.
#[derive(Debug)]
pub enum Step {
    /// A message, for the first time as far as the session knows.
    Message(Publish),
    /// A message of the client's is done.
    Done(PacketId, ReasonCode),
    /// An answer to something else.
    Answer(Packet),
    /// Nothing to be told of.
    Nothing,
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    decoder: Decoder,
    buf: BytesMut,
    version: Version,
    /// What the server has said to the CONNECT.
    pub accepted: ConnAck,
    /// What the next connection goes on with.
    pub memory: Memory,
    inbox: VecDeque<Publish>,
}

/// A CONNECT with a key for the password, for a session that ends with its connection.
///
/// # Panics
/// When the name or the key cannot be said in MQTT.
pub fn connect(version: Version, client_id: &str, key: &str) -> Connect {
    let mut connect = Connect::new(version, Text::try_from(client_id).expect("a name"));
    connect.username = Some(Text::from_static("e2e"));
    let password = Bytes::copy_from_slice(key.as_bytes());
    connect.password = Some(Binary::try_from(password).expect("a key"));
    connect
}

/// A CONNECT for a session that goes on for so many seconds after its connection.
pub fn connect_to_session(client_id: &str, key: &str, expiry_s: u32) -> Connect {
    let mut connect = connect(Version::V5, client_id, key);
    connect.clean_start = false;
    connect.properties.session_expiry_s = Some(expiry_s);
    connect
}

/// A topic's name.
///
/// # Panics
/// When it is none.
pub fn name(topic: &str) -> Name {
    Name::try_from(Text::try_from(topic).expect("text")).expect("a topic name")
}

impl Mqtt {
    /// Connects to `host:port`, with nothing to remember.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn open(address: &str, connect: Connect) -> Result<Mqtt> {
        Mqtt::resume(address, connect, &Memory::default()).await
    }

    /// Connects to `host:port` and goes on with what an earlier connection had to remember, if the server
    /// remembers the session, too.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn resume(address: &str, connect: Connect, memory: &Memory) -> Result<Mqtt> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let version = connect.version;
        let mut client = Mqtt {
            stream,
            decoder: Decoder::of_server(version, LIMITS),
            buf: BytesMut::new(),
            version,
            accepted: ConnAck::refusal(ReasonCode::UnspecifiedError),
            memory: Memory::default(),
            inbox: VecDeque::new(),
        };
        client.send(Packet::from(connect)).await?;
        let answer = timeout(ANSWER_TIMEOUT, client.packet()).await;
        match answer.context("no answer to the CONNECT")?? {
            Packet::ConnAck(accepted) if accepted.reason == ReasonCode::Success => {
                client.accepted = *accepted;
            }
            Packet::ConnAck(refused) => {
                let why = refused.properties.reason_string.as_ref();
                return Err(refusal(refused.reason, why).into());
            }
            other => bail!("{other:?} is no answer to a CONNECT"),
        }
        if client.accepted.session_present {
            client.memory = memory.clone();
            client.send_again().await?;
        }
        Ok(client)
    }

    /// Sends again what is not done, in order (section 4.4).
    async fn send_again(&mut self) -> Result<()> {
        for sent in self.memory.sent.clone() {
            let packet = match sent.is_received {
                true => Packet::PubRel(Ack::new(sent.id, ReasonCode::Success)),
                false => {
                    let mut publish = sent.publish;
                    publish.delivery = match publish.delivery {
                        Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup: true },
                        Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup: true },
                        Delivery::AtMostOnce => Delivery::AtMostOnce,
                    };
                    Packet::Publish(publish)
                }
            };
            self.send(packet).await?;
        }
        Ok(())
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(&mut self, packet: Packet) -> Result<()> {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes)?;
        Ok(self.stream.write_all(&bytes).await?)
    }

    /// Sends a message and remembers it until it is done. Returns its identifier, if it has one.
    ///
    /// # Errors
    /// When the connection is lost; the message is remembered all the same.
    pub async fn begin(&mut self, mut publish: Publish, qos: Qos) -> Result<Option<PacketId>> {
        let id = self.next_id();
        publish.delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        let id = publish.delivery.packet_id();
        if let Some(id) = id {
            self.memory.sent.push_back(Sent {
                id,
                publish: publish.clone(),
                is_received: false,
            });
        }
        self.send(Packet::Publish(publish)).await?;
        Ok(id)
    }

    /// Publishes text and waits until that is done. Messages that come meanwhile are kept.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: Qos) -> Result<()> {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let publish = Publish::new(name(topic), Delivery::AtMostOnce, payload);
        self.finish(publish, qos).await
    }

    /// The same of a message with all that it brings.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn finish(&mut self, publish: Publish, qos: Qos) -> Result<()> {
        let Some(id) = self.begin(publish, qos).await? else {
            return Ok(());
        };
        let done = async {
            loop {
                match self.step().await? {
                    Step::Done(done, reason) if done == id => {
                        return Ok::<_, anyhow::Error>(reason);
                    }
                    Step::Message(message) => self.inbox.push_back(message),
                    _ => {}
                }
            }
        };
        let reason = timeout(ANSWER_TIMEOUT, done).await;
        match reason.context("no answer to the PUBLISH")?? {
            reason if reason.is_failure() => Err(refusal(reason, None).into()),
            _ => Ok(()),
        }
    }

    /// How many messages of the client's are not done.
    pub fn unfinished(&self) -> usize {
        self.memory.sent.len()
    }

    /// Subscribes, and waits for the answer, which is the receipt.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn subscribe(&mut self, filters: &[(&str, Qos)], from: Option<&str>) -> Result<()> {
        let filter = |(filter, qos): &(&str, Qos)| {
            let filter = Filter::try_from(Text::try_from(*filter).expect("text"));
            Subscription::new(filter.expect("a filter"), *qos)
        };
        let id = self.next_id();
        let mut subscribe = Subscribe::new(id, filters.iter().map(filter).collect());
        if let Some(from) = from {
            let from = Text::try_from(from)?;
            subscribe.user_properties = vec![(Text::from_static(FROM), from)];
        }
        self.send(Packet::Subscribe(subscribe)).await?;
        let answered = async {
            loop {
                match self.step().await? {
                    Step::Answer(Packet::SubAck(ack)) if ack.packet_id == id => {
                        return Ok::<_, anyhow::Error>(ack);
                    }
                    Step::Message(message) => self.inbox.push_back(message),
                    _ => {}
                }
            }
        };
        let ack = timeout(ANSWER_TIMEOUT, answered).await;
        let ack = ack.context("no answer to the SUBSCRIBE")??;
        ensure!(ack.reasons.len() == filters.len(), "{ack:?}");
        match ack.reasons.iter().find(|reason| reason.is_failure()) {
            Some(reason) => Err(refusal(*reason, ack.remarks.reason_string.as_ref()).into()),
            None => Ok(()),
        }
    }

    /// The next message, acknowledged as its QoS wants it.
    ///
    /// # Errors
    /// What became of the connection.
    pub async fn message(&mut self) -> Result<Publish> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            if let Step::Message(message) = self.step().await? {
                return Ok(message);
            }
        }
    }

    /// Its connection, for whoever goes on without the client, and what was read of it already.
    pub fn into_stream(self) -> (TcpStream, BytesMut) {
        (self.stream, self.buf)
    }

    /// Reads a packet and does what it asks of a client.
    ///
    /// # Errors
    /// The server's DISCONNECT, or what became of the connection.
    pub async fn step(&mut self) -> Result<Step> {
        let packet = self.packet().await?;
        self.on_packet(packet).await
    }

    /// The same, unless no packet comes in this time.
    ///
    /// # Errors
    /// As before.
    pub async fn step_within(&mut self, limit: Duration) -> Result<Option<Step>> {
        match timeout(limit, self.packet()).await {
            Ok(packet) => self.on_packet(packet?).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn on_packet(&mut self, packet: Packet) -> Result<Step> {
        let ack = |id| Ack::new(id, ReasonCode::Success);
        match packet {
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => Ok(Step::Message(publish)),
                Delivery::AtLeastOnce { id, .. } => {
                    self.send(Packet::PubAck(ack(id))).await?;
                    Ok(Step::Message(publish))
                }
                Delivery::ExactlyOnce { id, .. } => {
                    let is_new = self.memory.received.insert(id);
                    // Whoever is told of the message has it, whether the answer arrives or not.
                    let _ = self.send(Packet::PubRec(ack(id))).await;
                    match is_new {
                        true => Ok(Step::Message(publish)),
                        false => Ok(Step::Nothing),
                    }
                }
            },
            Packet::PubRel(release) => {
                self.memory.received.remove(&release.packet_id);
                self.send(Packet::PubComp(ack(release.packet_id))).await?;
                Ok(Step::Nothing)
            }
            Packet::PubRec(received) if received.reason.is_failure() => Ok(self.done(&received)),
            Packet::PubRec(received) => {
                let id = received.packet_id;
                if let Some(sent) = self.memory.sent.iter_mut().find(|sent| sent.id == id) {
                    sent.is_received = true;
                }
                self.send(Packet::PubRel(ack(id))).await?;
                Ok(Step::Nothing)
            }
            Packet::PubAck(done) | Packet::PubComp(done) => Ok(self.done(&done)),
            Packet::Disconnect(said) => {
                Err(refusal(said.reason, said.remarks.reason_string.as_ref()).into())
            }
            other => Ok(Step::Answer(other)),
        }
    }

    fn done(&mut self, ack: &Ack) -> Step {
        self.memory.sent.retain(|sent| sent.id != ack.packet_id);
        Step::Done(ack.packet_id, ack.reason)
    }

    async fn packet(&mut self) -> Result<Packet> {
        loop {
            if let Some(packet) = self.decoder.next(&mut self.buf)? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.buf).await? == 0 {
                return Err(ended().into());
            }
        }
    }

    /// The identifier after the last one that is not in use.
    fn next_id(&mut self) -> PacketId {
        loop {
            self.memory.last_id = self.memory.last_id.checked_add(1).unwrap_or(1);
            let id = PacketId::new(self.memory.last_id).expect("not 0");
            if self.memory.sent.iter().all(|sent| sent.id != id) {
                return id;
            }
        }
    }
}

/// The topic of a message, which came by its name: the client has asked for no aliases.
///
/// # Panics
/// When it did not.
pub fn topic_of(message: &Publish) -> &str {
    match &message.topic {
        Topic::Name(name, _) => name.as_str(),
        other => panic!("{other:?} is no name"),
    }
}

/// The cursor of a message.
///
/// # Errors
/// When it has none.
pub fn cursor_of(message: &Publish) -> Result<&str> {
    let pairs = &message.properties.user_properties;
    let cursor = pairs.iter().find(|(name, _)| name.as_str() == CURSOR);
    cursor
        .map(|(_, value)| value.as_str())
        .with_context(|| format!("{message:?} has no cursor"))
}

/// What a reason says, with its number for the code. Those of a server that is in trouble may be gone soon.
fn refusal(reason: ReasonCode, why: Option<&Text>) -> Refusal {
    use ReasonCode as R;
    Refusal {
        code: code(reason),
        message: format!("{} ({why:?})", reason.name()),
        retryable: matches!(
            reason,
            R::UnspecifiedError
                | R::ImplementationSpecificError
                | R::ServerUnavailable
                | R::ServerBusy
                | R::ServerShuttingDown
                | R::UseAnotherServer
                | R::QuotaExceeded
        ),
    }
}

/// The code of a refusal with this reason.
pub fn code(reason: ReasonCode) -> String {
    format!("{:#04x}", reason as u8)
}
