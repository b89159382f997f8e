//! Numbers that a packet carries and that are valid once constructed: identifiers and the QoS.

use std::num::{NonZeroU16, NonZeroU32};

use crate::varint;

/// A packet identifier: what a sender calls a packet by until it is acknowledged (section 2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// An identifier from 1 to 65,535.
    pub const fn new(number: u16) -> Option<PacketId> {
        match NonZeroU16::new(number) {
            Some(number) => Some(PacketId(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// A subscription identifier: what a client calls its subscription by (section 3.8.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// An identifier from 1 to 268,435,455.
    pub const fn new(number: u32) -> Option<SubscriptionId> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() <= varint::MAX => Some(SubscriptionId(number)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// How hard the two sides try to deliver a message (section 4.3). Ordered: the lower of two is `min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0: sent and forgotten.
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: sent until received, and received once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS with this number; there is no 3.
    pub const fn new(number: u8) -> Option<Qos> {
        match number {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}
