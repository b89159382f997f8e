//! A client that says what the test says, and nothing by itself.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use highwater_mqtt::{
    Decoder, Limits, Packet, PacketId, Qos, ReasonCode, Text, Version,
    packet::{
        Ack, ConnAck, Connect, Disconnect, FilterAck, Publish, Subscribe, Unsubscribe,
        connect::{Will, WillProperties},
        publish::{Delivery, Topic},
        subscribe::Subscription,
    },
    topic::{Filter, Name},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Stage, within};

const LIMITS: Limits = Limits {
    packet_bytes_max: 4 << 20,
    user_properties_max: 1_000,
    filters_max: 1_000,
};

pub const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

pub struct Peer {
    socket: TcpStream,
    pub version: Version,
    decoder: Decoder,
    buf: BytesMut,
    /// Packets that came while another was waited for.
    early: VecDeque<Packet>,
}

/// A CONNECT with the key that may do everything.
pub fn connect(stage: &Stage, version: Version, client_id: &str) -> Connect {
    let mut connect = Connect::new(version, text(client_id));
    connect.username = Some(text("anybody"));
    connect.password = Some(bytes::Bytes::from(stage.key.clone()).try_into().unwrap());
    connect
}

/// The same, with a session that outlives the connection.
pub fn connect_to_stay(stage: &Stage, version: Version, client_id: &str) -> Connect {
    let mut connect = connect(stage, version, client_id);
    connect.clean_start = false;
    if version == Version::V5 {
        connect.properties.session_expiry_s = Some(600);
    }
    connect
}

pub fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub fn subscription(filter: &str, qos: Qos) -> Subscription {
    Subscription::new(Filter::try_from(filter).unwrap(), qos)
}

pub fn message(topic: &str, payload: &str, delivery: Delivery) -> Publish {
    let payload = bytes::Bytes::copy_from_slice(payload.as_bytes());
    Publish::new(Name::try_from(topic).unwrap(), delivery, payload)
}

pub fn at_least_once(number: u16) -> Delivery {
    Delivery::AtLeastOnce {
        id: id(number),
        dup: false,
    }
}

pub fn exactly_once(number: u16) -> Delivery {
    Delivery::ExactlyOnce {
        id: id(number),
        dup: false,
    }
}

/// A message in the name of the client, for when it is gone.
pub fn will(topic: &str, payload: &str) -> Will {
    Will {
        topic: Name::try_from(topic).unwrap(),
        payload: bytes::Bytes::copy_from_slice(payload.as_bytes())
            .try_into()
            .unwrap(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    }
}

pub fn payload(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.payload).unwrap()
}

/// The user property of this name.
pub fn user_property<'a>(publish: &'a Publish, name: &str) -> Option<&'a str> {
    let mut properties = publish.properties.user_properties.iter();
    let found = properties.find(|(known, _)| known.as_str() == name);
    found.map(|(_, value)| value.as_str())
}

/// What a message says of itself, for comparison.
pub fn topic_and_payload(publish: &Publish) -> (String, String) {
    let Topic::Name(name, _) = &publish.topic else {
        panic!("{:?} is no name", publish.topic);
    };
    (
        name.as_str().to_owned(),
        String::from_utf8(publish.payload.to_vec()).unwrap(),
    )
}

impl Peer {
    /// A socket on which nothing was said.
    pub async fn dial(stage: &Stage, version: Version) -> Peer {
        Peer::dial_at(stage.address, version).await
    }

    async fn dial_at(address: SocketAddr, version: Version) -> Peer {
        Peer {
            socket: within(TcpStream::connect(address)).await.unwrap(),
            version,
            decoder: Decoder::of_server(version, LIMITS),
            buf: BytesMut::new(),
            early: VecDeque::new(),
        }
    }

    /// A connection that was answered.
    pub async fn with(stage: &Stage, connect: Connect) -> (Peer, ConnAck) {
        Peer::with_at(stage.address, connect).await
    }

    /// The same at another node.
    pub async fn with_at(address: SocketAddr, connect: Connect) -> (Peer, ConnAck) {
        let mut peer = Peer::dial_at(address, connect.version).await;
        peer.send(connect.into()).await;
        let answer = peer.next().await;
        let Packet::ConnAck(answer) = answer else {
            panic!("{answer:?} is no CONNACK");
        };
        (peer, *answer)
    }

    /// A connection that was accepted, with the key that may do everything and without a session to keep.
    pub async fn open(stage: &Stage, version: Version) -> Peer {
        Peer::named(stage, version, "").await
    }

    /// The same under a name.
    pub async fn named(stage: &Stage, version: Version, client_id: &str) -> Peer {
        let (peer, answer) = Peer::with(stage, connect(stage, version, client_id)).await;
        assert_eq!(answer.reason, ReasonCode::Success);
        assert!(!answer.session_present);
        peer
    }

    pub async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        within(self.socket.write_all(bytes)).await.unwrap();
    }

    /// Sends bytes, unless the server has closed, or takes nothing for so long.
    pub async fn try_send_bytes(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let sent = tokio::time::timeout(patience, self.socket.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The next packet, or nothing when the server has closed the connection.
    pub async fn try_next(&mut self) -> Option<Packet> {
        match self.early.pop_front() {
            Some(early) => Some(early),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.next(&mut self.buf).unwrap() {
                return Some(packet);
            }
            match within(self.socket.read_buf(&mut self.buf)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// All bytes until the server has closed the connection.
    pub async fn rest(&mut self) -> BytesMut {
        while !matches!(
            within(self.socket.read_buf(&mut self.buf)).await,
            Ok(0) | Err(_)
        ) {}
        std::mem::take(&mut self.buf)
    }

    pub async fn next(&mut self) -> Packet {
        self.try_next().await.expect("a packet")
    }

    pub async fn message(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} is no PUBLISH"),
        }
    }

    /// The next message, acknowledged as its QoS demands.
    pub async fn receive(&mut self) -> Publish {
        let got = self.message().await;
        match got.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => {
                let ack = Ack::new(id, ReasonCode::Success);
                self.send(Packet::PubAck(ack)).await;
            }
            Delivery::ExactlyOnce { id, .. } => {
                let ack = Ack::new(id, ReasonCode::Success);
                self.send(Packet::PubRec(ack.clone())).await;
                let released = Packet::PubRel(ack.clone());
                loop {
                    match self.read().await.expect("a packet") {
                        packet if packet == released => break,
                        packet => self.early.push_back(packet),
                    }
                }
                self.send(Packet::PubComp(ack)).await;
            }
        }
        got
    }

    /// Sends a packet and gives the next one.
    pub async fn ask(&mut self, packet: Packet) -> Packet {
        self.send(packet).await;
        self.next().await
    }

    /// The server closes the connection, and says why where it can.
    pub async fn ended(&mut self, reason: ReasonCode) {
        self.ended_by("the test", reason).await;
    }

    /// The same because of one of several things.
    pub async fn ended_by(&mut self, what: &str, reason: ReasonCode) {
        match self.version {
            Version::V5 => assert_eq!(self.disconnected().await, reason, "{what}"),
            Version::V3_1_1 => while self.try_next().await.is_some() {},
        }
    }

    /// Goes away without a word. Returns when the server has noticed.
    pub async fn vanish(mut self) {
        within(self.socket.shutdown()).await.unwrap();
        while self.try_next().await.is_some() {}
    }

    /// The reason with which the server ends the connection.
    pub async fn disconnected(&mut self) -> ReasonCode {
        loop {
            if let Packet::Disconnect(disconnect) = self.next().await {
                assert_eq!(self.try_next().await, None);
                return disconnect.reason;
            }
        }
    }

    /// Nothing came before what is asked for now.
    pub async fn silent(&mut self) {
        self.send(Packet::PingReq).await;
        assert_eq!(self.next().await, Packet::PingResp);
    }

    pub async fn subscribe(&mut self, subscriptions: Vec<Subscription>) -> Vec<ReasonCode> {
        self.send(Packet::Subscribe(Subscribe::new(id(1), subscriptions)))
            .await;
        match self.next().await {
            Packet::SubAck(FilterAck {
                packet_id, reasons, ..
            }) if packet_id == id(1) => reasons,
            other => panic!("{other:?} is no SUBACK"),
        }
    }

    pub async fn unsubscribe(&mut self, filter: &str) {
        let filters = vec![Filter::try_from(filter).unwrap()];
        self.send(Packet::Unsubscribe(Unsubscribe::new(id(1), filters)))
            .await;
        let answer = self.next().await;
        assert!(matches!(answer, Packet::UnsubAck(_)), "{answer:?}");
    }

    /// Publishes with QoS 1 and waits until it is acknowledged.
    pub async fn publish(&mut self, topic: &str, payload: &str) {
        self.send(Packet::Publish(message(topic, payload, at_least_once(1))))
            .await;
        assert_eq!(
            self.next().await,
            Packet::PubAck(Ack::new(id(1), ReasonCode::Success))
        );
    }

    pub async fn leave(mut self) {
        self.send(Packet::Disconnect(Disconnect::new(ReasonCode::Success)))
            .await;
        assert_eq!(self.try_next().await, None);
    }
}
