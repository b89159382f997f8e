//! What a receiver is willing to take in one packet.

/// The maxima of one packet. There is no default: whoever listens decides.
///
/// They bound the memory of a decoded packet. Texts and payloads are slices of the packet, so only what
/// becomes an entry of a `Vec` costs more than its bytes: a user property of 5 bytes costs 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet in bytes, its fixed header included, as Maximum Packet Size counts it.
    pub packet_bytes_max: usize,
    /// Most user properties in one set of properties.
    pub user_properties_max: usize,
    /// Most topic filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_max: usize,
}

#[cfg(test)]
mod tests {
    use crate::{
        Packet, Text,
        packet::subscribe::Subscription,
        topic::{Filter, Invalid},
    };

    #[test]
    fn an_entry_of_a_list_costs_what_is_written_above() {
        assert_eq!(size_of::<(Text, Text)>(), 64);
        assert!(size_of::<Subscription>() <= 64);
        assert!(size_of::<Result<Filter, Invalid>>() <= 48);
        assert!(size_of::<Packet>() <= 256, "{}", size_of::<Packet>());
    }
}
