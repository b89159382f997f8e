//! Every metric of the gateway. Labels are closed enums, so their number is known beforehand.

use std::fmt::{self, Write as _};

use highwater_broker::{Refusal, metering, segment::records_encoded_total};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
    },
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::Registry,
};

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain HTTP requests.
    Http,
    /// gRPC and gRPC-web.
    Grpc,
    /// Server-sent events.
    Sse,
    /// WebSocket.
    WebSocket,
    /// MQTT.
    Mqtt,
}

impl Protocol {
    /// Every protocol, in the order of their numbers.
    const ALL: [Protocol; 5] = [
        Protocol::Http,
        Protocol::Grpc,
        Protocol::Sse,
        Protocol::WebSocket,
        Protocol::Mqtt,
    ];

    /// Its name in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Sse => "sse",
            Protocol::WebSocket => "websocket",
            Protocol::Mqtt => "mqtt",
        }
    }

    /// Whether it says of a message who published it and with which QoS: only MQTT has these.
    pub fn tells_origin(self) -> bool {
        match self {
            Protocol::Mqtt => true,
            Protocol::Http | Protocol::Grpc | Protocol::Sse | Protocol::WebSocket => false,
        }
    }
}

impl Protocol {
    /// As it is on a project's bill.
    pub fn metered(self) -> metering::Protocol {
        match self {
            Protocol::Http => metering::Protocol::Http,
            Protocol::Grpc => metering::Protocol::Grpc,
            Protocol::Sse => metering::Protocol::Sse,
            Protocol::WebSocket => metering::Protocol::Websocket,
            Protocol::Mqtt => metering::Protocol::Mqtt,
        }
    }
}

impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    protocol: Protocol,
    /// A name from the table of error codes.
    code: &'static str,
}

/// Counters of one protocol, held directly so that counting is one addition.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Messages that were appended.
    pub publishes: Counter,
    /// Bytes of those messages.
    pub publish_bytes: Counter,
    /// Publishes that were answered with an earlier one's result.
    pub duplicates: Counter,
    /// Records that were delivered.
    pub deliveries: Counter,
    /// Bytes of their messages.
    pub delivery_bytes: Counter,
    /// Subscriptions that are open.
    pub subscriptions: Gauge,
}

/// What the gateway counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Families,
    /// In the order of [`Protocol::ALL`].
    traffic: [Traffic; Protocol::ALL.len()],
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were closed at once, because there were too many.
    pub connections_refused: Counter,
}

#[derive(Debug, Clone, Default)]
struct Families {
    publishes: Family<ByProtocol, Counter>,
    publish_bytes: Family<ByProtocol, Counter>,
    duplicates: Family<ByProtocol, Counter>,
    deliveries: Family<ByProtocol, Counter>,
    delivery_bytes: Family<ByProtocol, Counter>,
    subscriptions: Family<ByProtocol, Gauge>,
    refusals: Family<ByCode, Counter>,
}

impl Families {
    fn traffic(&self, protocol: Protocol) -> Traffic {
        let label = ByProtocol { protocol };
        Traffic {
            publishes: self.publishes.get_or_create_owned(&label),
            publish_bytes: self.publish_bytes.get_or_create_owned(&label),
            duplicates: self.duplicates.get_or_create_owned(&label),
            deliveries: self.deliveries.get_or_create_owned(&label),
            delivery_bytes: self.delivery_bytes.get_or_create_owned(&label),
            subscriptions: self.subscriptions.get_or_create_owned(&label),
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let families = Families::default();
        Metrics {
            traffic: Protocol::ALL.map(|protocol| families.traffic(protocol)),
            families,
            connections: Gauge::default(),
            connections_refused: Counter::default(),
        }
    }
}

impl Metrics {
    /// The counters of a protocol.
    pub fn traffic(&self, protocol: Protocol) -> &Traffic {
        &self.traffic[protocol as usize]
    }

    /// Counts a refusal by its code.
    pub fn refused(&self, protocol: Protocol, refusal: &Refusal) {
        let code = refusal.code().name();
        let label = ByCode { protocol, code };
        self.families.refusals.get_or_create(&label).inc();
    }

    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let all = self.families.clone();
        registry.register(
            "highwater_publish_messages",
            "messages appended",
            all.publishes,
        );
        registry.register(
            "highwater_publish_bytes",
            "bytes of messages appended",
            all.publish_bytes,
        );
        registry.register(
            "highwater_publish_duplicates",
            "publishes answered with an earlier result",
            all.duplicates,
        );
        registry.register(
            "highwater_delivery_records",
            "records delivered",
            all.deliveries,
        );
        registry.register(
            "highwater_delivery_bytes",
            "bytes of messages delivered",
            all.delivery_bytes,
        );
        registry.register(
            "highwater_subscriptions",
            "subscriptions that are open",
            all.subscriptions,
        );
        registry.register(
            "highwater_refusals",
            "requests refused, by error code",
            all.refusals,
        );
        registry.register(
            "highwater_connections",
            "connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "highwater_connections_refused",
            "connections closed because there were too many",
            self.connections_refused.clone(),
        );
        registry.register_collector(Box::new(Encoded));
    }
}

/// Counts something that is open, for as long as this lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Adds one to the gauge until it is dropped.
    pub fn new(gauge: &Gauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The process-wide count of encoded records, read when it is asked for.
#[derive(Debug)]
struct Encoded;

impl Collector for Encoded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(records_encoded_total());
        let help = "records encoded for delivery, once for all their subscribers";
        let metric = counter.metric_type();
        let name = "highwater_delivery_encoded_records";
        counter.encode(encoder.encode_descriptor(name, help, None, metric)?)
    }
}
