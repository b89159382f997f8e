//! Whatever can be said is said in bytes that mean the same again.

mod packets;

use bytes::{BufMut, BytesMut};
use highwater_mqtt::{
    EncodeError, Packet, PacketId, ReasonCode, SubscriptionId, Template, Text, Version,
    packet::{
        Ack, ConnAck, Publish, Remarks,
        publish::{Alias, Delivery, Topic},
    },
    template::{Own, TopicAs},
    topic::Name,
};
use packets::*;
use proptest::{collection::vec, option, prelude::*};

fn check(packet: Packet, version: Version) {
    let bytes = encode(&packet, version);
    assert_eq!(packet.encoded_len(version), Ok(bytes.len()));
    let decoded = decode(&bytes, version).unwrap();
    assert_eq!(decoded, packet);
    // The encoding is canonical: what it decodes to encodes to the same bytes.
    assert_eq!(encode(&decoded, version), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn packets_of_5_0_mean_the_same_after_the_wire(packet in any_packet(Version::V5)) {
        check(packet, Version::V5);
    }

    #[test]
    fn packets_of_3_1_1_mean_the_same_after_the_wire(packet in any_packet(Version::V3_1_1)) {
        check(packet, Version::V3_1_1);
    }

    #[test]
    fn what_3_1_1_does_not_have_is_left_out(packet in any_packet(Version::V5)) {
        // A CONNECT is written in the version that it names.
        prop_assume!(!matches!(packet, Packet::Connect(_)));
        let mut out = BytesMut::new();
        match (packet.encode(Version::V3_1_1, &mut out), plain(packet.clone())) {
            (Ok(()), Some(plain)) => prop_assert_eq!(decode(&out, Version::V3_1_1).unwrap(), plain),
            // Only a topic that is none can be written and not read.
            (Ok(()), None) => prop_assert!(decode(&out, Version::V3_1_1).is_err()),
            (Err(_), plain) => {
                prop_assert_eq!(plain, None);
                prop_assert!(out.is_empty(), "nothing is written when it fails");
            }
        }
    }

    #[test]
    fn a_packet_fits_whole_or_without_remarks_or_not_at_all(
        packet in any_packet(Version::V5),
        short_by in 0..60_usize,
    ) {
        let whole = packet.encoded_len(Version::V5).unwrap();
        let bare = packet.clone().without_remarks();
        let bytes_max = whole.saturating_sub(short_by);
        match packet.clone().within(Version::V5, bytes_max) {
            Some(fits) => {
                prop_assert!(fits.encoded_len(Version::V5).unwrap() <= bytes_max);
                prop_assert_eq!(fits, if short_by == 0 { packet } else { bare });
            }
            None => prop_assert!(bare.encoded_len(Version::V5).unwrap() > bytes_max),
        }
    }

    #[test]
    fn a_template_writes_what_the_packet_would(
        version in prop_oneof![Just(Version::V3_1_1), Just(Version::V5)],
        message in (any_name(), any_publish_properties(), any_payload()),
        own in any_own(),
    ) {
        let (name, properties, payload) = message;
        let mut expected = Publish { retain: own.retain, ..Publish::new(name.clone(), own.delivery, payload.clone()) };
        if version == Version::V5 {
            expected.topic = match own.topic {
                TopicAs::Name => Topic::Name(name.clone(), None),
                TopicAs::NameAndAlias(alias) => Topic::Name(name.clone(), Some(alias)),
                TopicAs::Alias(alias) => Topic::Alias(alias),
            };
            expected.properties = properties.clone();
            expected.properties.subscription_ids = own.subscription_ids.clone();
            expected.properties.message_expiry_s = own.message_expiry_s.or(properties.message_expiry_s);
            expected.properties.user_properties = own.user_properties.clone();
            expected.properties.user_properties.extend(properties.user_properties.clone());
        }
        let expected = encode(&Packet::Publish(expected), version);

        let template = Template::new(version, name, &properties, payload.clone());
        let mut whole = BytesMut::new();
        template.encode(&own.as_own(), &mut whole).unwrap();
        prop_assert_eq!(template.encoded_len(&own.as_own()), Ok(whole.len()));
        prop_assert_eq!(decode(&whole, version), decode(&expected, version));

        let mut in_two = BytesMut::new();
        template.encode_head(&own.as_own(), &mut in_two).unwrap();
        in_two.put_slice(template.payload());
        prop_assert_eq!(in_two, whole);
    }
}

/// [`Own`] with what it borrows.
#[derive(Debug, Clone)]
struct Recipient {
    delivery: Delivery,
    retain: bool,
    topic: TopicAs,
    message_expiry_s: Option<u32>,
    subscription_ids: Vec<SubscriptionId>,
    user_properties: Vec<(Text, Text)>,
}

impl Recipient {
    fn as_own(&self) -> Own<'_> {
        Own {
            delivery: self.delivery,
            retain: self.retain,
            topic: self.topic,
            message_expiry_s: self.message_expiry_s,
            subscription_ids: &self.subscription_ids,
            user_properties: &self.user_properties,
        }
    }
}

fn any_own() -> impl Strategy<Value = Recipient> {
    let topic = prop_oneof![
        Just(TopicAs::Name),
        any::<Alias>().prop_map(TopicAs::NameAndAlias),
        any::<Alias>().prop_map(TopicAs::Alias),
    ];
    let ids = vec(1..1_000_u32, 0..3)
        .prop_map(|ids| ids.into_iter().filter_map(SubscriptionId::new).collect());
    let pairs = vec((any_text(), any_text()), 0..3);
    let first = (any_delivery(), any::<bool>(), topic);
    (first, option::of(any::<u32>()), ids, pairs).prop_map(
        |((delivery, retain, topic), message_expiry_s, subscription_ids, user_properties)| {
            Recipient {
                delivery,
                retain,
                topic,
                message_expiry_s,
                subscription_ids,
                user_properties,
            }
        },
    )
}

#[test]
fn what_cannot_be_written_says_why() {
    let mut out = BytesMut::new();
    let mut check = |packet: Packet, version, expected| {
        assert_eq!(packet.encode(version, &mut out), Err(expected));
        assert_eq!(packet.encoded_len(version), Err(expected));
        assert!(out.is_empty());
    };
    let refusal = ConnAck::refusal(ReasonCode::MalformedPacket);
    check(
        Packet::from(refusal),
        Version::V3_1_1,
        EncodeError::NoReturnCode(ReasonCode::MalformedPacket),
    );
    let name = Name::try_from("a").unwrap();
    let mut publish = Publish::new(name, Delivery::AtMostOnce, vec![0; 268_435_455].into());
    let bytes = 268_435_455 + 3;
    check(
        Packet::Publish(publish.clone()),
        Version::V3_1_1,
        EncodeError::TooLong { bytes },
    );
    publish.topic = Topic::Alias(Alias::MIN);
    check(
        Packet::Publish(publish),
        Version::V3_1_1,
        EncodeError::AliasOnly,
    );
}

#[test]
fn the_largest_packet_there_is_can_be_written() {
    let name = Name::try_from("a").unwrap();
    let payload = vec![0; 268_435_455 - 3].into();
    let publish = Publish::new(name.clone(), Delivery::AtMostOnce, payload);
    let len = Packet::Publish(publish.clone()).encoded_len(Version::V3_1_1);
    assert_eq!(len, Ok(268_435_460));
    let template = Template::new(Version::V3_1_1, name, &publish.properties, publish.payload);
    assert_eq!(
        template.encoded_len(&Own::only(Delivery::AtMostOnce)),
        Ok(268_435_460)
    );
    // An identifier more is two bytes too many.
    let bytes = 268_435_455 + 2;
    let id = PacketId::new(7).unwrap();
    let own = Own::only(Delivery::AtLeastOnce { id, dup: false });
    let len = template.encoded_len(&own);
    assert_eq!(len, Err(EncodeError::TooLong { bytes }));
}

#[test]
fn remarks_are_left_out_where_they_do_not_fit() {
    let id = PacketId::new(7).unwrap();
    let mut ack = Ack::new(id, ReasonCode::QuotaExceeded);
    let bare = Packet::PubAck(ack.clone());
    ack.remarks = Remarks::because(Text::from_static("the project's storage is full"));
    let full = Packet::PubAck(ack);
    let within = |bytes_max| full.clone().within(Version::V5, bytes_max);
    assert_eq!(within(100), Some(full.clone()));
    assert_eq!(within(20), Some(bare));
    assert_eq!(within(4), None);
    let mut connack = ConnAck::refusal(ReasonCode::Banned);
    let bare = Packet::from(connack.clone());
    connack.properties.reason_string = Some(Text::from_static("for a week"));
    connack.properties.user_properties = vec![(Text::from_static("until"), Text::default())];
    assert_eq!(Packet::from(connack).without_remarks(), bare);
}
