//! A packet of any type: decoded from a whole frame, encoded into bytes whose number is known before.

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod filter_ack;
pub mod publish;
pub mod remarks;
pub mod subscribe;

use bytes::BytesMut;

pub use self::{
    ack::Ack,
    auth::{Auth, Authentication},
    connack::ConnAck,
    connect::Connect,
    disconnect::Disconnect,
    filter_ack::FilterAck,
    publish::Publish,
    remarks::Remarks,
    subscribe::{Subscribe, Unsubscribe},
};
use crate::{
    error::{DecodeError, EncodeError},
    frame::Frame,
    kind::Kind,
    limits::Limits,
    reader::Reader,
    reason::ReasonCode,
    sink::{Counter, Sink},
    varint,
    version::Version,
};

/// Any control packet. Two are boxed, since they are large and come once a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(Box<ConnAck>),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    SubAck(FilterAck),
    Unsubscribe(Unsubscribe),
    UnsubAck(FilterAck),
    PingReq,
    PingResp,
    Disconnect(Disconnect),
    Auth(Auth),
}

impl From<Connect> for Packet {
    fn from(connect: Connect) -> Packet {
        Packet::Connect(Box::new(connect))
    }
}

impl From<ConnAck> for Packet {
    fn from(connack: ConnAck) -> Packet {
        Packet::ConnAck(Box::new(connack))
    }
}

impl Packet {
    /// Decodes a packet of a connection of this version. A CONNECT goes by the version it names itself.
    ///
    /// Who sent it, and whether it may come now, is not looked at; [`crate::Decoder`] does that.
    pub fn decode(frame: Frame, version: Version, limits: &Limits) -> Result<Packet, DecodeError> {
        let Frame { kind, flags, body } = frame;
        let mut reader = Reader::new(body);
        Ok(match kind {
            Kind::Connect => {
                let version = Version::read(&mut reader)?;
                Packet::from(Connect::decode(version, reader, limits)?)
            }
            Kind::ConnAck => Packet::from(ConnAck::decode(reader, version, limits)?),
            Kind::Publish => Packet::Publish(Publish::decode(flags, reader, version, limits)?),
            Kind::PubAck => Packet::PubAck(Ack::decode(kind, reader, version, limits)?),
            Kind::PubRec => Packet::PubRec(Ack::decode(kind, reader, version, limits)?),
            Kind::PubRel => Packet::PubRel(Ack::decode(kind, reader, version, limits)?),
            Kind::PubComp => Packet::PubComp(Ack::decode(kind, reader, version, limits)?),
            Kind::Subscribe => Packet::Subscribe(Subscribe::decode(reader, version, limits)?),
            Kind::SubAck => Packet::SubAck(FilterAck::decode(kind, reader, version, limits)?),
            Kind::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, version, limits)?),
            Kind::UnsubAck => Packet::UnsubAck(FilterAck::decode(kind, reader, version, limits)?),
            Kind::PingReq => reader.finish(kind).map(|()| Packet::PingReq)?,
            Kind::PingResp => reader.finish(kind).map(|()| Packet::PingResp)?,
            Kind::Disconnect => Packet::Disconnect(Disconnect::decode(reader, version, limits)?),
            Kind::Auth if version == Version::V3_1_1 => {
                return Err(DecodeError::ReservedType(kind as u8));
            }
            Kind::Auth => Packet::Auth(Auth::decode(reader, limits)?),
        })
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Packet::Connect(_) => Kind::Connect,
            Packet::ConnAck(_) => Kind::ConnAck,
            Packet::Publish(_) => Kind::Publish,
            Packet::PubAck(_) => Kind::PubAck,
            Packet::PubRec(_) => Kind::PubRec,
            Packet::PubRel(_) => Kind::PubRel,
            Packet::PubComp(_) => Kind::PubComp,
            Packet::Subscribe(_) => Kind::Subscribe,
            Packet::SubAck(_) => Kind::SubAck,
            Packet::Unsubscribe(_) => Kind::Unsubscribe,
            Packet::UnsubAck(_) => Kind::UnsubAck,
            Packet::PingReq => Kind::PingReq,
            Packet::PingResp => Kind::PingResp,
            Packet::Disconnect(_) => Kind::Disconnect,
            Packet::Auth(_) => Kind::Auth,
        }
    }

    /// Appends the packet as this version writes it; what the version does not have is left out. Nothing
    /// is written when it fails. A CONNECT is written in the version it names itself.
    pub fn encode(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        let body_bytes = self.body_bytes(version)?;
        out.reserve(header_bytes(body_bytes) + body_bytes as usize);
        out.put(&[self.first_byte()]);
        out.varint(body_bytes);
        self.write_body(version, out);
        Ok(())
    }

    /// How many bytes [`Packet::encode`] appends, to compare with the receiver's Maximum Packet Size.
    pub fn encoded_len(&self, version: Version) -> Result<usize, EncodeError> {
        let body_bytes = self.body_bytes(version)?;
        Ok(header_bytes(body_bytes) + body_bytes as usize)
    }

    /// The packet without reason string and user properties, which are only remarks. Those of a PUBLISH,
    /// CONNECT, SUBSCRIBE and UNSUBSCRIBE belong to the message or request, and stay.
    pub fn without_remarks(mut self) -> Packet {
        match &mut self {
            Packet::ConnAck(connack) => {
                connack.properties.reason_string = None;
                connack.properties.user_properties.clear();
            }
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => ack.remarks = Remarks::default(),
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => ack.remarks = Remarks::default(),
            Packet::Disconnect(disconnect) => disconnect.remarks = Remarks::default(),
            Packet::Auth(auth) => auth.remarks = Remarks::default(),
            Packet::Connect(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp => {}
        }
        self
    }

    /// The packet as the receiver takes it: whole, or without remarks, or not at all (MQTT-3.1.2-24).
    pub fn within(self, version: Version, packet_bytes_max: usize) -> Option<Packet> {
        let fits = |packet: &Packet| {
            let len = packet.encoded_len(version);
            len.is_ok_and(|len| len <= packet_bytes_max)
        };
        match fits(&self) {
            true => Some(self),
            false => Some(self.without_remarks()).filter(fits),
        }
    }

    fn first_byte(&self) -> u8 {
        let kind = self.kind();
        let flags = match self {
            Packet::Publish(publish) => publish.delivery.flags(publish.retain),
            _ => kind.fixed_flags().unwrap_or(0),
        };
        (kind as u8) << 4 | flags
    }

    fn body_bytes(&self, version: Version) -> Result<u32, EncodeError> {
        match self {
            Packet::ConnAck(connack) => connack.check(version)?,
            Packet::Publish(publish) => publish.check(version)?,
            Packet::Auth(_) if version == Version::V3_1_1 => {
                let kind = Kind::Auth;
                return Err(EncodeError::NotInVersion { kind, version });
            }
            _ => {}
        }
        let mut counter = Counter::default();
        self.write_body(version, &mut counter);
        remaining_length(counter.total())
    }

    fn write_body(&self, version: Version, sink: &mut impl Sink) {
        match self {
            Packet::Connect(connect) => connect.write(sink),
            Packet::ConnAck(connack) => connack.write(version, sink),
            Packet::Publish(publish) => publish.write(version, sink),
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => ack.write(version, sink),
            Packet::Subscribe(subscribe) => subscribe.write(version, sink),
            Packet::Unsubscribe(unsubscribe) => unsubscribe.write(version, sink),
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => ack.write(self.kind(), version, sink),
            Packet::PingReq | Packet::PingResp => {}
            Packet::Disconnect(disconnect) => disconnect.write(version, sink),
            Packet::Auth(auth) => auth.write(sink),
        }
    }
}

/// A body's size, if a packet can have it.
pub(crate) fn remaining_length(bytes: usize) -> Result<u32, EncodeError> {
    let length = u32::try_from(bytes).ok();
    let length = length.filter(|length| *length <= varint::MAX);
    length.ok_or(EncodeError::TooLong { bytes })
}

/// Bytes of the fixed header before a body of this size.
pub(crate) const fn header_bytes(body_bytes: u32) -> usize {
    1 + varint::encoded_len(body_bytes)
}

/// A reason code that this type of packet may have.
fn read_reason(reader: &mut Reader, kind: Kind) -> Result<ReasonCode, DecodeError> {
    let number = reader.u8()?;
    let reason = ReasonCode::from_number(number).ok_or(DecodeError::ReasonUnknown(number))?;
    match reason.belongs_in(kind) {
        true => Ok(reason),
        false => Err(DecodeError::ReasonMisplaced { kind, reason }),
    }
}
