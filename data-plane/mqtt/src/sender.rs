//! Which side may send what: packets, and what they may hold when it is this side that sends them.

use crate::{
    error::DecodeError, kind::Kind, packet::Packet, property::Property, reason::ReasonCode,
    version::Version,
};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The one that sent CONNECT.
    Client,
    /// The one that answered.
    Server,
}

impl Sender {
    /// Whether packets of this type come from this side at all (MQTT 5.0, section 2.1.2).
    pub(crate) fn check_kind(self, kind: Kind, version: Version) -> Result<(), DecodeError> {
        let may = match kind {
            Kind::Connect | Kind::Subscribe | Kind::Unsubscribe | Kind::PingReq => {
                self == Sender::Client
            }
            Kind::ConnAck | Kind::SubAck | Kind::UnsubAck | Kind::PingResp => {
                self == Sender::Server
            }
            Kind::Publish | Kind::PubAck | Kind::PubRec | Kind::PubRel | Kind::PubComp => true,
            // A server of 3.1.1 just closes.
            Kind::Disconnect => self == Sender::Client || version == Version::V5,
            Kind::Auth if version == Version::V3_1_1 => {
                return Err(DecodeError::ReservedType(kind as u8));
            }
            Kind::Auth => true,
        };
        match may {
            true => Ok(()),
            false => Err(DecodeError::WrongDirection(kind)),
        }
    }

    /// Whether this side may say what the packet says.
    pub(crate) fn check(self, packet: &Packet) -> Result<(), DecodeError> {
        match (self, packet) {
            // MQTT-3.3.4-6
            (Sender::Client, Packet::Publish(publish))
                if !publish.properties.subscription_ids.is_empty() =>
            {
                Err(DecodeError::SubscriptionIdFromClient)
            }
            // Section 3.14.2.1
            (Sender::Client, Packet::Disconnect(disconnect))
                if !disconnect.reason.is_for_client_disconnect() =>
            {
                Err(DecodeError::ReasonMisplaced {
                    kind: Kind::Disconnect,
                    reason: disconnect.reason,
                })
            }
            // Section 3.14.2.2.5
            (Sender::Client, Packet::Disconnect(disconnect))
                if disconnect.server_reference.is_some() =>
            {
                Err(DecodeError::PropertyMisplaced(Property::ServerReference))
            }
            // MQTT-3.14.2-2
            (Sender::Server, Packet::Disconnect(disconnect))
                if disconnect.session_expiry_s.is_some() =>
            {
                Err(DecodeError::PropertyMisplaced(Property::SessionExpiry))
            }
            // Section 3.15.2.1: the server succeeds, the client begins anew.
            (Sender::Client, Packet::Auth(auth)) if auth.reason == ReasonCode::Success => {
                Err(auth_misplaced(auth.reason))
            }
            (Sender::Server, Packet::Auth(auth)) if auth.reason == ReasonCode::ReAuthenticate => {
                Err(auth_misplaced(auth.reason))
            }
            _ => Ok(()),
        }
    }
}

fn auth_misplaced(reason: ReasonCode) -> DecodeError {
    DecodeError::ReasonMisplaced {
        kind: Kind::Auth,
        reason,
    }
}
