//! The fifteen control packets, and the flags that each of them must carry in its first byte.

use crate::error::DecodeError;

/// The type of a control packet: the upper half of its first byte (MQTT 5.0, section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// DUP, in the flags of a PUBLISH.
pub(crate) const DUP: u8 = 0b1000;
/// RETAIN, in the flags of a PUBLISH.
pub(crate) const RETAIN: u8 = 0b0001;

impl Kind {
    /// Every type, in order of its number.
    pub const ALL: [Kind; 15] = [
        Kind::Connect,
        Kind::ConnAck,
        Kind::Publish,
        Kind::PubAck,
        Kind::PubRec,
        Kind::PubRel,
        Kind::PubComp,
        Kind::Subscribe,
        Kind::SubAck,
        Kind::Unsubscribe,
        Kind::UnsubAck,
        Kind::PingReq,
        Kind::PingResp,
        Kind::Disconnect,
        Kind::Auth,
    ];

    /// Splits the first byte of a packet into its type and its flags, which are then right for it.
    pub fn of(first_byte: u8) -> Result<(Kind, u8), DecodeError> {
        let (number, flags) = (first_byte >> 4, first_byte & 0x0F);
        let index = usize::from(number).checked_sub(1);
        let kind = index.and_then(|index| Kind::ALL.get(index).copied());
        let kind = kind.ok_or(DecodeError::ReservedType(number))?;
        match kind.fixed_flags() {
            Some(fixed) if flags != fixed => Err(DecodeError::HeaderFlags { kind, flags }),
            // MQTT-3.3.1-4
            None if flags & 0b0110 == 0b0110 => Err(DecodeError::QosReserved),
            // MQTT-3.3.1-2
            None if flags & 0b1110 == DUP => Err(DecodeError::DupWithoutQos),
            _ => Ok((kind, flags)),
        }
    }

    /// The only flags a packet of this type may have; a PUBLISH has a choice (MQTT-2.1.3-1).
    pub(crate) const fn fixed_flags(self) -> Option<u8> {
        match self {
            Kind::Publish => None,
            Kind::PubRel | Kind::Subscribe | Kind::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// The name as the specification writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Connect => "CONNECT",
            Kind::ConnAck => "CONNACK",
            Kind::Publish => "PUBLISH",
            Kind::PubAck => "PUBACK",
            Kind::PubRec => "PUBREC",
            Kind::PubRel => "PUBREL",
            Kind::PubComp => "PUBCOMP",
            Kind::Subscribe => "SUBSCRIBE",
            Kind::SubAck => "SUBACK",
            Kind::Unsubscribe => "UNSUBSCRIBE",
            Kind::UnsubAck => "UNSUBACK",
            Kind::PingReq => "PINGREQ",
            Kind::PingResp => "PINGRESP",
            Kind::Disconnect => "DISCONNECT",
            Kind::Auth => "AUTH",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_listed_in_order_of_their_numbers() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
        }
    }

    #[test]
    fn of_the_256_first_bytes_those_of_the_tables_are_taken() {
        for first in 0..=u8::MAX {
            let taken = match first {
                0x62 | 0x82 | 0xA2 => true,
                // QoS 0 without DUP, QoS 1 and QoS 2, each with and without RETAIN.
                0x30..=0x3F => matches!(first & 0x0F, 0 | 1 | 2..=5 | 10..=13),
                _ => first & 0x0F == 0 && !matches!(first >> 4, 0 | 3 | 6 | 8 | 10),
            };
            assert_eq!(Kind::of(first).is_ok(), taken, "{first:#04x}");
        }
    }
}
