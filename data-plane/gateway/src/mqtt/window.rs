//! Messages with QoS 1 and 2 that a client was sent and has not acknowledged, in the order they were sent.
//!
//! Their number is bounded by what the client takes and by a maximum of our own, whichever is less. A client
//! that does not acknowledge is sent nothing more with these QoS, and lags on the log.

use std::collections::VecDeque;

use highwater_mqtt::{PacketId, Qos};
use highwater_proto::ids::ShardId;

/// A record as a subscription knows it: its offset in its topic where the subscription is of one topic, its
/// position in its shard where it is a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub shard: ShardId,
    pub at: u64,
}

/// A message that is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    pub id: PacketId,
    pub qos: Qos,
    /// Which subscription of the connection it is of.
    pub subscription: u32,
    pub place: Place,
    /// It was sent because it was retained, and is not part of what the subscription reads on from.
    pub is_retained: bool,
    /// The client has it: the identifier has to be released (QoS 2).
    pub is_received: bool,
    /// It was sent on this connection; one of an earlier connection still has to be.
    pub is_sent: bool,
}

impl InFlight {
    /// Whether it is this message, of an earlier connection, and still has to be sent on this one.
    fn is_unsent_of(&self, subscription: u32, (place, is_retained): (Place, bool)) -> bool {
        self.subscription == subscription
            && self.place == place
            && self.is_retained == is_retained
            && !self.is_sent
            && !self.is_received
    }
}

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acked {
    /// The message is done with.
    Done(InFlight),
    /// The client has it, for the first time or once more, and waits for the identifier to be released.
    Received(InFlight),
    /// There is no such message.
    Unknown,
}

/// The messages, and the identifiers that are free.
#[derive(Debug)]
pub struct Window {
    in_flight: VecDeque<InFlight>,
    max: usize,
    last_id: u16,
}

impl Window {
    /// A window of at most so many messages, with those of an earlier connection in it.
    pub fn new(max: usize, in_flight: impl IntoIterator<Item = InFlight>) -> Window {
        let in_flight: VecDeque<_> = in_flight.into_iter().collect();
        let last_id = in_flight.back().map_or(0, |message| message.id.get());
        Window {
            in_flight,
            max,
            last_id,
        }
    }

    /// How many more may be sent.
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.in_flight.len())
    }

    /// All messages, in order.
    pub fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    /// Takes a message that is sent now. There must be room.
    pub fn open(
        &mut self,
        qos: Qos,
        subscription: u32,
        place: Place,
        is_retained: bool,
    ) -> PacketId {
        let id = self.free_id();
        self.in_flight.push_back(InFlight {
            id,
            qos,
            subscription,
            place,
            is_retained,
            is_received: false,
            is_sent: true,
        });
        id
    }

    /// The next identifier that is not in use. There always is one, since a window is smaller.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let free = PacketId::new(self.last_id);
            if let Some(id) = free.filter(|id| self.position(*id).is_none()) {
                return id;
            }
        }
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        self.in_flight.iter().position(|message| message.id == id)
    }

    /// Whether a message of an earlier connection has to be sent again and cannot be yet: the client may take fewer
    /// at once than it did then.
    pub fn has_to_wait(&self, subscription: u32, record: (Place, bool)) -> bool {
        let sent = self.in_flight.iter().filter(|message| message.is_sent);
        let is_unsent = |message: &InFlight| message.is_unsent_of(subscription, record);
        sent.count() >= self.max && self.in_flight.iter().any(is_unsent)
    }

    /// A message of an earlier connection that has to be sent again, when its record is read again.
    pub fn resend(&mut self, subscription: u32, record: (Place, bool)) -> Option<&InFlight> {
        let mut messages = self.in_flight.iter_mut();
        let message = messages.find(|message| message.is_unsent_of(subscription, record))?;
        message.is_sent = true;
        Some(message)
    }

    /// Messages of an earlier connection whose records are gone, among the retained ones or the others: nobody
    /// can send them again.
    pub fn forget_unsent(&mut self, subscription: u32, is_retained: bool) -> bool {
        let before = self.in_flight.len();
        self.in_flight.retain(|m| {
            m.subscription != subscription
                || m.is_retained != is_retained
                || m.is_sent
                || m.is_received
        });
        self.in_flight.len() < before
    }

    /// A message could not be sent after all.
    pub fn forget(&mut self, id: PacketId) {
        self.in_flight.retain(|message| message.id != id);
    }

    /// PUBACK.
    pub fn on_puback(&mut self, id: PacketId) -> Acked {
        match self.position(id) {
            Some(at) if self.in_flight[at].qos == Qos::AtLeastOnce => self.remove(at),
            _ => Acked::Unknown,
        }
    }

    fn remove(&mut self, at: usize) -> Acked {
        match self.in_flight.remove(at) {
            Some(message) => Acked::Done(message),
            None => Acked::Unknown,
        }
    }

    /// PUBREC: the message has arrived, or was refused for good.
    pub fn on_pubrec(&mut self, id: PacketId, is_refused: bool) -> Acked {
        match self.position(id) {
            Some(at) if self.in_flight[at].qos == Qos::ExactlyOnce => {
                if is_refused {
                    return self.remove(at);
                }
                self.in_flight[at].is_received = true;
                Acked::Received(self.in_flight[at].clone())
            }
            _ => Acked::Unknown,
        }
    }

    /// PUBCOMP.
    pub fn on_pubcomp(&mut self, id: PacketId) -> Acked {
        match self.position(id) {
            Some(at) if self.in_flight[at].is_received => self.remove(at),
            _ => Acked::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64) -> Place {
        Place {
            shard: ShardId(0),
            at,
        }
    }

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn identifiers_are_used_in_turn_and_never_twice_at_once() {
        let mut window = Window::new(3, []);
        let open = |window: &mut Window| window.open(Qos::AtLeastOnce, 0, place(0), false);
        assert_eq!((open(&mut window), open(&mut window)), (id(1), id(2)));
        assert!(matches!(window.on_puback(id(1)), Acked::Done(_)));
        assert_eq!(window.on_puback(id(1)), Acked::Unknown);
        window.last_id = u16::MAX;
        assert_eq!((open(&mut window), open(&mut window)), (id(1), id(3)));
        assert_eq!(window.room(), 0);
    }

    #[test]
    fn a_message_with_qos_2_is_released_once_it_was_received() {
        let mut window = Window::new(3, []);
        let first = window.open(Qos::ExactlyOnce, 0, place(0), false);
        assert_eq!(window.on_puback(first), Acked::Unknown);
        assert_eq!(window.on_pubcomp(first), Acked::Unknown);
        assert!(matches!(window.on_pubrec(first, false), Acked::Received(_)));
        // The client may say it again when it did not get the answer.
        assert!(matches!(window.on_pubrec(first, false), Acked::Received(_)));
        assert!(matches!(window.on_pubcomp(first), Acked::Done(_)));
        let second = window.open(Qos::ExactlyOnce, 0, place(1), false);
        assert!(matches!(window.on_pubrec(second, true), Acked::Done(_)));
        assert_eq!(window.room(), 3);
    }

    #[test]
    fn what_an_earlier_connection_sent_is_sent_again_under_its_identifier() {
        let earlier = |number, at, is_received| InFlight {
            id: id(number),
            qos: Qos::ExactlyOnce,
            subscription: 0,
            place: place(at),
            is_retained: false,
            is_received,
            is_sent: false,
        };
        let messages = [
            earlier(7, 3, true),
            earlier(8, 4, false),
            earlier(9, 6, false),
        ];
        let mut window = Window::new(10, messages);
        assert_eq!(
            window.resend(0, (place(3), false)),
            None,
            "the client has it"
        );
        assert_eq!(
            window.resend(0, (place(4), false)).map(|m| m.id),
            Some(id(8))
        );
        assert_eq!(window.resend(0, (place(4), false)), None, "once");
        assert!(window.forget_unsent(0, false));
        let left: Vec<u16> = window.iter().map(|m| m.id.get()).collect();
        assert_eq!(left, [7, 8]);
        assert_eq!(window.open(Qos::AtLeastOnce, 1, place(9), false), id(10));
    }
}
