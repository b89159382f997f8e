//! What each protocol carries, once: the page that tells it and the test that checks it are made of this table.

use std::fmt::Write as _;

use highwater_proto::client::{Header, Record};

/// A way in. Protocols that say a message in the same words are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    Headers,
    Json,
    Protobuf,
    Mqtt5,
    Mqtt3,
}

/// A way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    Json,
    Protobuf,
    Mqtt5,
    Mqtt3,
}

/// How a protocol says something; nothing where it does not.
type Cell = Option<&'static str>;

/// One thing that a message or record has.
pub struct Row {
    pub name: &'static str,
    /// In the order of [`In`].
    said: [Cell; 5],
    /// In the order of [`Out`].
    told: [Cell; 4],
    /// Takes the field of one record over into another.
    pub copy: fn(from: &Record, to: &mut Record),
}

impl Row {
    /// Whether publishers can say it.
    pub fn is_said(&self, by: In) -> bool {
        self.said[by as usize].is_some()
    }

    /// Whether subscribers are told it.
    pub fn is_told(&self, by: Out) -> bool {
        self.told[by as usize].is_some()
    }

    /// Whether it is the server that says it.
    pub fn is_of_server(&self) -> bool {
        self.said.iter().all(Option::is_none)
    }
}

/// Everything that a message has, and what a record has besides.
pub const ROWS: &[Row] = &[
    Row {
        name: "topic",
        said: [
            Some("path"),
            Some("`topic`"),
            Some("`topic`"),
            Some("topic"),
            Some("topic"),
        ],
        told: [
            Some("`topic`"),
            Some("`topic`"),
            Some("topic"),
            Some("topic"),
        ],
        copy: |from, to| to.topic.clone_from(&from.topic),
    },
    Row {
        name: "payload",
        said: [
            Some("body"),
            Some("`data`, `data_base64`"),
            Some("`payload`"),
            Some("payload"),
            Some("payload"),
        ],
        told: [
            Some("`data`, `data_base64`"),
            Some("`payload`"),
            Some("payload"),
            Some("payload"),
        ],
        copy: |from, to| to.payload = from.payload.clone(),
    },
    Row {
        name: "content type",
        said: [
            Some("`Content-Type`"),
            Some("`content_type`"),
            Some("`content_type`"),
            Some("Content Type"),
            None,
        ],
        told: [
            Some("`content_type`"),
            Some("`content_type`"),
            Some("Content Type"),
            None,
        ],
        copy: |from, to| to.content_type.clone_from(&from.content_type),
    },
    Row {
        name: "headers, in order",
        said: [
            Some(
                "`Highwater-Header-<name>`; lower case, and only values of one name keep their order",
            ),
            Some("`headers`"),
            Some("`headers`"),
            Some("User Property"),
            None,
        ],
        told: [
            Some("`headers`"),
            Some("`headers`"),
            Some("User Property"),
            None,
        ],
        copy: |from, to| to.headers.clone_from(&from.headers),
    },
    Row {
        name: "compaction key",
        said: [
            Some("`Highwater-Key`"),
            Some("`key`"),
            Some("`key`"),
            Some("User Property `hw-key`"),
            None,
        ],
        told: [
            Some("`key`"),
            Some("`key`"),
            Some("User Property `hw-key`"),
            None,
        ],
        copy: |from, to| to.key.clone_from(&from.key),
    },
    Row {
        name: "time to live",
        said: [
            Some("`Highwater-TTL`"),
            Some("`ttl_ms`"),
            Some("`ttl_ms`"),
            Some("Message Expiry Interval, in seconds"),
            None,
        ],
        told: [
            Some("`ttl_ms`"),
            Some("`ttl_ms`"),
            Some("Message Expiry Interval: what is left, in seconds"),
            None,
        ],
        copy: |from, to| to.ttl_ms = from.ttl_ms,
    },
    Row {
        name: "trace context",
        said: [
            Some("`traceparent`"),
            Some("`traceparent`"),
            Some("`traceparent`"),
            Some("User Property `traceparent`"),
            None,
        ],
        told: [
            Some("`traceparent`"),
            Some("`traceparent`"),
            Some("User Property `traceparent`"),
            None,
        ],
        copy: |from, to| to.traceparent.clone_from(&from.traceparent),
    },
    Row {
        name: "retain",
        said: [
            Some("`Highwater-Retain`"),
            Some("`retain`"),
            Some("`retain`"),
            Some("RETAIN"),
            Some("RETAIN"),
        ],
        told: [
            Some("`retain`"),
            Some("`retain`"),
            Some("RETAIN, with Retain As Published"),
            None,
        ],
        copy: |from, to| to.retain = from.retain,
    },
    Row {
        name: "reply to",
        said: [
            Some("`Highwater-Reply-To`"),
            Some("`reply_to`"),
            Some("`reply_to`"),
            Some("Response Topic"),
            None,
        ],
        told: [
            Some("`reply_to`"),
            Some("`reply_to`"),
            Some("Response Topic"),
            None,
        ],
        copy: |from, to| to.reply_to.clone_from(&from.reply_to),
    },
    Row {
        name: "correlation",
        said: [
            Some("`Highwater-Correlation`, in base64"),
            Some("`correlation_base64`"),
            Some("`correlation`"),
            Some("Correlation Data"),
            None,
        ],
        told: [
            Some("`correlation_base64`"),
            Some("`correlation`"),
            Some("Correlation Data"),
            None,
        ],
        copy: |from, to| to.correlation = from.correlation.clone(),
    },
    Row {
        name: "payload is text",
        said: [
            Some("`Highwater-Payload-Format: text`"),
            Some("`is_text`"),
            Some("`is_text`"),
            Some("Payload Format Indicator"),
            None,
        ],
        told: [
            Some("`is_text`"),
            Some("`is_text`"),
            Some("Payload Format Indicator"),
            None,
        ],
        copy: |from, to| to.is_text = from.is_text,
    },
    Row {
        name: "cursor",
        said: [None; 5],
        told: [
            Some("`cursor`; SSE: `id`, too"),
            Some("`cursor`"),
            Some("User Property `hw-cursor`"),
            None,
        ],
        copy: |from, to| to.cursor.clone_from(&from.cursor),
    },
    Row {
        name: "offset",
        said: [None; 5],
        told: [Some("`offset`"), Some("`offset`"), None, None],
        copy: |from, to| to.offset = from.offset,
    },
    Row {
        name: "time of the publish",
        said: [None; 5],
        told: [
            Some("`published_at_ms`"),
            Some("`published_at_ms`"),
            None,
            None,
        ],
        copy: |from, to| to.published_at_ms = from.published_at_ms,
    },
];

/// What is said of a publish or of a subscription, rather than of one record. Other tests, named after the
/// promises, are about these.
const AROUND: &[(&str, [&str; 6])] = &[
    (
        "result of a publish",
        [
            "201: `cursor`, `offset`, `duplicate`",
            "–",
            "`published`",
            "`PublishResult`",
            "PUBACK, PUBCOMP",
            "PUBACK, PUBCOMP",
        ],
    ),
    (
        "idempotency key",
        [
            "`Idempotency-Key`",
            "–",
            "`idempotency_key`",
            "`idempotency_key`",
            "User Property `hw-idempotency-key`; QoS 2 needs none",
            "QoS 2",
        ],
    ),
    (
        "append only at a cursor",
        ["`If-Match`", "–", "`if_cursor`", "`if_cursor`", "–", "–"],
    ),
    (
        "topics and filters",
        [
            "path, `topic`",
            "`topic`, several",
            "`topics`",
            "`topics`",
            "SUBSCRIBE",
            "SUBSCRIBE",
        ],
    ),
    (
        "where to begin",
        [
            "`from`",
            "`from`, `Last-Event-ID`",
            "`from`",
            "`from`",
            "User Property `hw-from`",
            "`$from/<from>/<filter>`",
        ],
    ),
    (
        "receipt",
        [
            "–",
            "event `subscribed`",
            "`subscribed`",
            "`Subscribed`",
            "SUBACK",
            "SUBACK",
        ],
    ),
    (
        "gap",
        [
            "`gaps`",
            "event `gap`",
            "`gap`",
            "`Gap`",
            "User Property `hw-gap` of the next record",
            "–",
        ],
    ),
    (
        "flow control",
        [
            "`limit`",
            "the connection's",
            "`flow`",
            "`Flow`",
            "Receive Maximum",
            "the connection's",
        ],
    ),
    (
        "credential",
        [
            "`Authorization`",
            "`Authorization`, `ticket`",
            "`Authorization`, `ticket`, `auth`",
            "`authorization`; WebSocket: `Auth`",
            "password, or AUTH",
            "password",
        ],
    ),
    (
        "renewing the credential",
        ["–", "POST to `refresh`", "`auth`", "`Auth`", "AUTH", "–"],
    ),
    (
        "end of a credential's time",
        [
            "–",
            "event `auth-expiring`",
            "`auth_expiring`",
            "`AuthExpiring`",
            "DISCONNECT",
            "–",
        ],
    ),
];

/// The page with the tables.
pub fn page() -> String {
    let mut page = String::from(
        "# What each protocol carries\n\n\
         Written by a test from a table of its own, with which the same test compares every pair of a publishing and a \
         subscribing\nprotocol. What a protocol has no word for, –, is absent there, and kept for the others.\n\n\
         ## What a publisher says\n\n\
         JSON is that of WebSocket messages and of HTTP batches, protobuf that of gRPC and of WebSocket's binary \
         subprotocol.\n\n",
    );
    let said = ROWS.iter().filter(|row| !row.is_of_server());
    table(
        &mut page,
        &[
            "",
            "HTTP headers",
            "JSON",
            "protobuf",
            "MQTT 5.0",
            "MQTT 3.1.1",
        ],
        said.map(|row| (row.name, row.said.map(|cell| cell.unwrap_or("–")).to_vec())),
    );
    page.push_str(
        "\n## What a subscriber is told\n\n\
         JSON is that of HTTP pages, event streams and WebSocket messages. In MQTT, RETAIN also marks a record that is \
         sent because it is\nthe topic's retained one.\n\n",
    );
    table(
        &mut page,
        &["", "JSON", "protobuf", "MQTT 5.0", "MQTT 3.1.1"],
        ROWS.iter()
            .map(|row| (row.name, row.told.map(|cell| cell.unwrap_or("–")).to_vec())),
    );
    page.push_str("\n## What goes with it\n\n");
    table(
        &mut page,
        &[
            "",
            "HTTP",
            "SSE",
            "WebSocket, JSON",
            "gRPC, WebSocket's protobuf",
            "MQTT 5.0",
            "MQTT 3.1.1",
        ],
        AROUND.iter().map(|(name, cells)| (*name, cells.to_vec())),
    );
    page
}

fn table<'a>(
    page: &mut String,
    head: &[&str],
    rows: impl Iterator<Item = (&'a str, Vec<&'a str>)>,
) {
    let _ = writeln!(
        page,
        "| {} |\n|{}",
        head.join(" | "),
        "---|".repeat(head.len())
    );
    for (name, cells) in rows {
        let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
}

/// Messages that say everything, as a record without a place.
pub fn samples() -> [Record; 2] {
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let text = Record {
        payload: r#"{"total": "7 €"}"#.into(),
        content_type: "application/json".into(),
        headers: vec![header("b", "1"), header("a", "zwei"), header("b", "3")],
        key: "k/1".into(),
        ttl_ms: 3_600_000,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        retain: true,
        reply_to: "answers/42".into(),
        correlation: vec![0, 0xff, 7].into(),
        is_text: true,
        ..Record::default()
    };
    let bytes = Record {
        payload: vec![0, 0xff, 0xfe, b'\n', b'\r'].into(),
        content_type: "application/octet-stream".into(),
        retain: false,
        is_text: false,
        ..text.clone()
    };
    [text, bytes]
}
