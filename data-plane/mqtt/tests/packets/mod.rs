//! Every packet there can be, for the properties that hold for all of them.
#![allow(dead_code)]

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use highwater_mqtt::{
    Binary, DecodeError, Frame, Kind, Limits, Packet, PacketId, Qos, ReasonCode, SubscriptionId,
    Text, UserProperties, Version,
    packet::{
        Ack, Auth, Authentication, ConnAck, Connect, Disconnect, FilterAck, Publish, Remarks,
        Subscribe, Unsubscribe, connack,
        connect::{self, Will, WillProperties},
        publish::{self, Delivery, Topic},
        subscribe::{RetainHandling, Subscription},
    },
    topic::{Filter, Name},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Wide enough for whatever is made here.
pub const LIMITS: Limits = Limits {
    packet_bytes_max: 1 << 20,
    user_properties_max: 8,
    filters_max: 8,
};

pub fn encode(packet: &Packet, version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out).unwrap();
    out
}

/// Decodes bytes that are exactly one packet.
pub fn decode(bytes: &[u8], version: Version) -> Result<Packet, DecodeError> {
    let mut buf = BytesMut::from(bytes);
    let frame = Frame::take(&mut buf, &LIMITS)?.expect("a whole packet");
    assert!(buf.is_empty(), "the header spans the whole packet");
    Packet::decode(frame, version, &LIMITS)
}

/// Any packet of this version.
pub fn any_packet(version: Version) -> BoxedStrategy<Packet> {
    let common = prop_oneof![
        any_connect(version).prop_map(Packet::from),
        any_publish().prop_map(Packet::Publish),
        any_publish().prop_map(Packet::Publish),
        any_ack(Kind::PubAck).prop_map(Packet::PubAck),
        any_ack(Kind::PubRec).prop_map(Packet::PubRec),
        any_ack(Kind::PubRel).prop_map(Packet::PubRel),
        any_ack(Kind::PubComp).prop_map(Packet::PubComp),
        any_subscribe().prop_map(Packet::Subscribe),
        any_filter_ack(Kind::SubAck).prop_map(Packet::SubAck),
        any_unsubscribe().prop_map(Packet::Unsubscribe),
        any_filter_ack(Kind::UnsubAck).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        any_disconnect().prop_map(Packet::Disconnect),
        any_connack().prop_map(Packet::from),
        any_auth().prop_map(Packet::Auth),
    ];
    match version {
        Version::V5 => common.boxed(),
        Version::V3_1_1 => common.prop_filter_map("3.1.1 can say it", plain).boxed(),
    }
}

/// What is left of a packet in 3.1.1, if it can be said at all.
pub fn plain(packet: Packet) -> Option<Packet> {
    Some(match packet {
        Packet::ConnAck(connack) => {
            let code = connack.reason.connack_return_code()?;
            Packet::from(ConnAck {
                reason: ReasonCode::from_connack_return_code(code)?,
                properties: connack::Properties::default(),
                ..*connack
            })
        }
        Packet::Publish(publish) => Packet::Publish(Publish {
            topic: match publish.topic {
                Topic::Name(name, _) => Topic::Name(name, None),
                Topic::Alias(_) | Topic::Invalid(..) => return None,
            },
            properties: publish::Properties::default(),
            ..publish
        }),
        Packet::PubAck(ack) => Packet::PubAck(Ack::new(ack.packet_id, ReasonCode::Success)),
        Packet::PubRec(ack) => Packet::PubRec(Ack::new(ack.packet_id, ReasonCode::Success)),
        Packet::PubRel(ack) => Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success)),
        Packet::PubComp(ack) => Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success)),
        Packet::Subscribe(subscribe) => {
            let subscriptions = subscribe.subscriptions.into_iter().map(|old| Subscription {
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Send,
                ..old
            });
            Packet::Subscribe(Subscribe::new(subscribe.packet_id, subscriptions.collect()))
        }
        Packet::SubAck(ack) => {
            let reasons = ack.reasons.into_iter().map(|reason| match reason {
                failure if failure.is_failure() => ReasonCode::UnspecifiedError,
                granted => granted,
            });
            Packet::SubAck(FilterAck::new(ack.packet_id, reasons.collect()))
        }
        Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe(Unsubscribe {
            user_properties: UserProperties::new(),
            ..unsubscribe
        }),
        Packet::UnsubAck(ack) => Packet::UnsubAck(FilterAck::new(ack.packet_id, Vec::new())),
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
        Packet::Auth(_) => return None,
        Packet::Connect(_) | Packet::PingReq | Packet::PingResp => packet,
    })
}

pub fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof!["[a-z0-9/]{0,12}", "\\PC{0,6}", "[\u{1}-\u{10FFFF}]{0,6}"]
        .prop_map(|text| Text::try_from(text).unwrap())
}

pub fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof!["[a-z0-9/]{1,12}", "\\$SYS/[a-z]{1,3}", "[^+#\0]{1,6}"]
        .prop_map(|text| Name::try_from(text.as_str()).unwrap())
}

/// Texts in the place of filters; some are none.
fn any_filter_text() -> impl Strategy<Value = Text> {
    let text = prop_oneof![
        "[a-z]{1,3}(/[a-z+]?){0,3}(/#)?",
        "\\$share/[a-z]{1,3}/[a-z+](/#)?",
        select(vec![
            "",
            "#",
            "+",
            "/",
            "a#",
            "$share/",
            "$share//a",
            "$share/g",
            "a/#/b"
        ])
        .prop_map(str::to_owned),
    ];
    text.prop_map(|text| Text::try_from(text).unwrap())
}

fn any_binary() -> impl Strategy<Value = Binary> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Binary::try_from(Bytes::from(bytes)).unwrap())
}

fn any_user_properties() -> impl Strategy<Value = UserProperties> {
    vec((any_text(), any_text()), 0..4)
}

fn any_packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).unwrap())
}

/// Numbers at the borders of one to four bytes as often as others.
fn any_subscription_id() -> impl Strategy<Value = SubscriptionId> {
    let borders = vec![
        1,
        127,
        128,
        16_383,
        16_384,
        2_097_151,
        2_097_152,
        268_435_455,
    ];
    prop_oneof![select(borders), 1..268_435_456_u32]
        .prop_map(|number| SubscriptionId::new(number).unwrap())
}

fn any_qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn any_reason(kind: Kind) -> impl Strategy<Value = ReasonCode> {
    select(
        ReasonCode::all()
            .filter(|reason| reason.belongs_in(kind))
            .collect::<Vec<_>>(),
    )
}

fn any_remarks() -> impl Strategy<Value = Remarks> {
    (option::of(any_text()), any_user_properties()).prop_map(|(reason_string, user_properties)| {
        Remarks {
            reason_string,
            user_properties,
        }
    })
}

fn any_authentication() -> impl Strategy<Value = Authentication> {
    (any_text(), option::of(any_binary()))
        .prop_map(|(method, data)| Authentication { method, data })
}

fn any_connect(version: Version) -> impl Strategy<Value = Connect> {
    let fields = (
        any::<bool>(),
        any::<u16>(),
        any_text(),
        option::of(any_will()),
    );
    let secrets = (option::of(any_text()), option::of(any_binary()));
    (fields, secrets, any_connect_properties()).prop_map(move |(fields, secrets, properties)| {
        let (clean_start, keep_alive_s, client_id, mut will) = fields;
        let (username, mut password) = secrets;
        let mut connect = Connect {
            properties,
            ..Connect::new(version, client_id)
        };
        if version == Version::V3_1_1 {
            connect.properties = connect::Properties::default();
            will.iter_mut()
                .for_each(|will| will.properties = WillProperties::default());
            password = password.filter(|_| username.is_some());
        }
        Connect {
            clean_start,
            keep_alive_s,
            will,
            username,
            password,
            ..connect
        }
    })
}

fn any_connect_properties() -> impl Strategy<Value = connect::Properties> {
    let wishes = (option::of(any::<bool>()), option::of(any::<bool>()));
    let maxima = (
        option::of(any::<NonZeroU16>()),
        option::of(any::<u16>()),
        option::of(any::<NonZeroU32>()),
    );
    let others = (
        option::of(any::<u32>()),
        option::of(any_authentication()),
        any_user_properties(),
    );
    (wishes, maxima, others).prop_map(|(wishes, maxima, others)| connect::Properties {
        session_expiry_s: others.0,
        authentication: others.1,
        request_problem_information: wishes.0,
        request_response_information: wishes.1,
        receive_max: maxima.0,
        topic_alias_max: maxima.1,
        user_properties: others.2,
        packet_bytes_max: maxima.2,
    })
}

fn any_will() -> impl Strategy<Value = Will> {
    let message = (any_name(), any_binary(), any_qos(), any::<bool>());
    (message, any_publish_properties(), option::of(any::<u32>())).prop_map(
        |((topic, payload, qos, retain), of_message, delay_s)| Will {
            topic,
            payload,
            qos,
            retain,
            properties: WillProperties {
                payload_is_text: of_message.payload_is_text,
                message_expiry_s: of_message.message_expiry_s,
                content_type: of_message.content_type,
                response_topic: of_message.response_topic,
                correlation_data: of_message.correlation_data,
                delay_s,
                user_properties: of_message.user_properties,
            },
        },
    )
}

fn any_connack() -> impl Strategy<Value = ConnAck> {
    (
        any::<bool>(),
        any_reason(Kind::ConnAck),
        any_connack_properties(),
    )
        .prop_map(|(present, reason, properties)| ConnAck {
            session_present: present && reason == ReasonCode::Success,
            reason,
            properties,
        })
}

fn any_connack_properties() -> impl Strategy<Value = connack::Properties> {
    let text = || option::of(any_text());
    let flag = || option::of(any::<bool>());
    let texts = (text(), text(), text(), text());
    let flags = (flag(), flag(), flag(), flag(), flag());
    let numbers = (option::of(any::<u16>()), option::of(any::<u16>()));
    (texts, flags, numbers, any_connect_properties()).prop_map(
        |(texts, flags, numbers, of_connect)| connack::Properties {
            session_expiry_s: of_connect.session_expiry_s,
            assigned_client_id: texts.0,
            server_keep_alive_s: numbers.0,
            authentication: of_connect.authentication,
            response_information: texts.1,
            server_reference: texts.2,
            reason_string: texts.3,
            receive_max: of_connect.receive_max,
            topic_alias_max: numbers.1,
            qos_max: flags.0.map(|one| {
                if one {
                    Qos::AtLeastOnce
                } else {
                    Qos::AtMostOnce
                }
            }),
            retain_available: flags.1,
            user_properties: of_connect.user_properties,
            packet_bytes_max: of_connect.packet_bytes_max,
            wildcard_subscription_available: flags.2,
            subscription_id_available: flags.3,
            shared_subscription_available: flags.4,
        },
    )
}

pub fn any_delivery() -> impl Strategy<Value = Delivery> {
    (any_qos(), any_packet_id(), any::<bool>()).prop_map(|(qos, id, dup)| match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    })
}

fn any_topic() -> impl Strategy<Value = Topic> {
    let alias = option::of(any::<NonZeroU16>());
    prop_oneof![
        8 => (any_name(), alias.clone()).prop_map(|(name, alias)| Topic::Name(name, alias)),
        1 => any::<NonZeroU16>().prop_map(Topic::Alias),
        1 => alias.prop_map(|alias| {
            let invalid = Name::try_from(Text::from_static("a/+/#")).unwrap_err();
            Topic::Invalid(invalid, alias)
        }),
    ]
}

pub fn any_publish_properties() -> impl Strategy<Value = publish::Properties> {
    let texts = (
        option::of(any_text()),
        option::of(any_name()),
        option::of(any_binary()),
    );
    let numbers = (option::of(any::<bool>()), option::of(any::<u32>()));
    (
        texts,
        numbers,
        vec(any_subscription_id(), 0..4),
        any_user_properties(),
    )
        .prop_map(
            |(texts, numbers, subscription_ids, user_properties)| publish::Properties {
                payload_is_text: numbers.0,
                message_expiry_s: numbers.1,
                content_type: texts.0,
                response_topic: texts.1,
                correlation_data: texts.2,
                subscription_ids,
                user_properties,
            },
        )
}

/// Payloads on both sides of where the remaining length grows.
pub fn any_payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        15 => vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        3 => (20..300_usize).prop_map(|len| Bytes::from(vec![b'x'; len])),
        1 => (16_300..16_500_usize).prop_map(|len| Bytes::from(vec![b'x'; len])),
    ]
}

pub fn any_publish() -> impl Strategy<Value = Publish> {
    let fields = (any_delivery(), any::<bool>(), any_topic());
    (fields, any_publish_properties(), any_payload()).prop_map(
        |((delivery, retain, topic), properties, payload)| Publish {
            delivery,
            retain,
            topic,
            properties,
            payload,
        },
    )
}

fn any_ack(kind: Kind) -> impl Strategy<Value = Ack> {
    (any_packet_id(), any_reason(kind), any_remarks()).prop_map(|(packet_id, reason, remarks)| {
        Ack {
            packet_id,
            reason,
            remarks,
        }
    })
}

fn any_subscription() -> impl Strategy<Value = Subscription> {
    let handling = select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (
        any_filter_text(),
        any_qos(),
        any::<bool>(),
        any::<bool>(),
        handling,
    )
        .prop_map(
            |(text, qos, no_local, retain_as_published, retain_handling)| Subscription {
                no_local: no_local && !text.as_str().starts_with("$share/"),
                filter: Filter::try_from(text),
                qos,
                retain_as_published,
                retain_handling,
            },
        )
}

fn any_subscribe() -> impl Strategy<Value = Subscribe> {
    let properties = (option::of(any_subscription_id()), any_user_properties());
    (any_packet_id(), properties, vec(any_subscription(), 1..5)).prop_map(
        |(packet_id, (subscription_id, user_properties), subscriptions)| Subscribe {
            packet_id,
            subscription_id,
            user_properties,
            subscriptions,
        },
    )
}

fn any_unsubscribe() -> impl Strategy<Value = Unsubscribe> {
    (
        any_packet_id(),
        any_user_properties(),
        vec(any_filter_text(), 1..5),
    )
        .prop_map(|(packet_id, user_properties, filters)| Unsubscribe {
            packet_id,
            user_properties,
            filters: filters.into_iter().map(Filter::try_from).collect(),
        })
}

fn any_filter_ack(kind: Kind) -> impl Strategy<Value = FilterAck> {
    (any_packet_id(), vec(any_reason(kind), 1..5), any_remarks()).prop_map(
        |(packet_id, reasons, remarks)| FilterAck {
            packet_id,
            reasons,
            remarks,
        },
    )
}

fn any_disconnect() -> impl Strategy<Value = Disconnect> {
    let properties = (
        option::of(any::<u32>()),
        option::of(any_text()),
        any_remarks(),
    );
    (any_reason(Kind::Disconnect), properties).prop_map(
        |(reason, (session_expiry_s, server_reference, remarks))| Disconnect {
            reason,
            session_expiry_s,
            server_reference,
            remarks,
        },
    )
}

fn any_auth() -> impl Strategy<Value = Auth> {
    let bare = Auth {
        reason: ReasonCode::Success,
        authentication: None,
        remarks: Remarks::default(),
    };
    prop_oneof![
        1 => Just(bare),
        8 => (any_reason(Kind::Auth), any_authentication(), any_remarks()).prop_map(
            |(reason, authentication, remarks)| Auth {
                reason,
                authentication: Some(authentication),
                remarks,
            }
        ),
    ]
}
