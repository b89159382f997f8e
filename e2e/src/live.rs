//! A consumer that reads on from a cursor, through any of the front doors, in the same words.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use highwater_mqtt::{Qos, Version};
use highwater_proto::client::Record;
use reqwest::Url;
use serde_json::Value;

use crate::{
    Cluster,
    client::Subscription,
    events::{Events, accepted},
    mqtt::{self, Mqtt},
    refusal::{Refusal, ended},
    socket::Socket,
};

/// How long a receipt may take before another node is asked.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The id of the subscription on a connection of its own.
const SUBSCRIPTION: u64 = 1;

/// A way into the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `Subscribe`.
    Grpc,
    /// An event stream.
    Sse,
    /// A subscription on a WebSocket.
    WebSocket,
    /// One HTTP page after the other, each of which waits until there is something.
    LongPoll,
    /// A subscription of MQTT 5.0.
    Mqtt,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 5] = [
        Door::Grpc,
        Door::Sse,
        Door::WebSocket,
        Door::LongPoll,
        Door::Mqtt,
    ];

    /// Whether its records come with their offsets.
    pub fn tells_offsets(self) -> bool {
        self != Door::Mqtt
    }
}

/// What is read through a door, on one node.
pub struct Live {
    door: Door,
    stream: Stream,
    from: String,
}

enum Stream {
    Grpc(Subscription),
    Sse(Events),
    WebSocket(Box<Socket>),
    LongPoll(Poll),
    Mqtt(Box<Mqtt>),
}

impl Live {
    /// Opens it and waits for the receipt, which a poll does not have. That of MQTT has no cursor. MQTT takes
    /// one filter, as each subscription of a connection has a cursor of its own there.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn open(
        cluster: &Cluster,
        (node, door): (usize, Door),
        topics: &[&str],
        from: &str,
    ) -> Result<Live> {
        let peer = (cluster.address(node), cluster.key());
        let open = async {
            let (stream, from) = match door {
                Door::Grpc => {
                    let live = cluster.client(node).subscribe(topics, from).await?;
                    let from = after(&live.cursor);
                    (Stream::Grpc(live), from)
                }
                Door::Sse => {
                    let events = Events::open(cluster.http(), peer, topics, from).await?;
                    let from = after(events.cursor());
                    (Stream::Sse(events), from)
                }
                Door::WebSocket => {
                    let mut socket = Socket::open(peer.0, peer.1).await?;
                    let cursor = socket.subscribe(SUBSCRIPTION, topics, from).await?;
                    (Stream::WebSocket(Box::new(socket)), after(&cursor))
                }
                Door::LongPoll => {
                    let poll = Poll::new(cluster.http(), peer, topics)?;
                    (Stream::LongPoll(poll), from.to_owned())
                }
                Door::Mqtt => {
                    let [filter] = topics else {
                        bail!("{topics:?} is not one filter");
                    };
                    let connect = mqtt::connect(Version::V5, "", peer.1);
                    let mut client = Mqtt::open(peer.0, connect).await?;
                    let filters = [(*filter, Qos::AtLeastOnce)];
                    client.subscribe(&filters, Some(from)).await?;
                    (Stream::Mqtt(Box::new(client)), from.to_owned())
                }
            };
            Ok(Live { door, stream, from })
        };
        let opened = tokio::time::timeout(RECEIPT_TIMEOUT, open).await;
        opened.context("no receipt in time")?
    }

    /// The door.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Where to read on: after the receipt, or what came last since.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// What comes next; nothing when there was none in a while. The offset is 0 where the door does not tell it.
    ///
    /// # Errors
    /// When the stream ends, by a refusal or with its connection, or tells of a gap.
    pub async fn next(&mut self) -> Result<Vec<Record>> {
        let records = match &mut self.stream {
            Stream::Grpc(live) => {
                let response = live.next().await?;
                no_gap(response.gap.as_ref())?;
                response.records
            }
            Stream::Sse(events) => {
                let event = events.next().await?.ok_or_else(ended)?;
                match event.name.as_str() {
                    "" => {
                        let record = record(&event.json()?)?;
                        ensure!(record.cursor == event.id, "{event:?} has two cursors");
                        vec![record]
                    }
                    "error" => return Err(serde_json::from_str::<Refusal>(&event.data)?.into()),
                    "gap" => return no_gap(Some(event)).map(|()| Vec::new()),
                    _ => bail!("{event:?} is no record"),
                }
            }
            Stream::WebSocket(socket) => {
                let message = socket.next().await?;
                no_gap((message["type"] == "gap").then_some(&message))?;
                let is_delivery = message["type"] == "message" && message["sub"] == SUBSCRIPTION;
                ensure!(is_delivery, "{message} is no delivery");
                records(&message)?
            }
            Stream::LongPoll(poll) => {
                let page = poll.page(&self.from).await?;
                no_gap(page.get("gaps"))?;
                let next = page["next"].as_str().context("a page has a next")?;
                self.from = after(next);
                return records(&page);
            }
            Stream::Mqtt(client) => {
                let message = client.message().await?;
                let pairs = &message.properties.user_properties;
                no_gap(pairs.iter().find(|(name, _)| name.as_str() == "hw-gap"))?;
                vec![Record {
                    topic: mqtt::topic_of(&message).to_owned(),
                    cursor: mqtt::cursor_of(&message)?.to_owned(),
                    payload: message.payload,
                    ..Record::default()
                }]
            }
        };
        if let Some(last) = records.last() {
            self.from = after(&last.cursor);
        }
        Ok(records)
    }
}

impl From<Subscription> for Live {
    /// What is read on, from a subscription that has its receipt.
    fn from(subscription: Subscription) -> Live {
        Live {
            door: Door::Grpc,
            from: after(&subscription.cursor),
            stream: Stream::Grpc(subscription),
        }
    }
}

impl From<Mqtt> for Live {
    /// What is read on, by a client that has subscribed. Where from is not known before the first message.
    fn from(client: Mqtt) -> Live {
        Live {
            door: Door::Mqtt,
            stream: Stream::Mqtt(Box::new(client)),
            from: String::new(),
        }
    }
}

/// What is to be read after a cursor.
pub fn after(cursor: &str) -> String {
    format!("cursor:{cursor}")
}

/// A gap ends what a test reads: nothing of it has expired.
fn no_gap<T: std::fmt::Debug>(gap: Option<T>) -> Result<()> {
    match gap {
        None => Ok(()),
        Some(gap) => Err(Refusal {
            code: "gap".to_owned(),
            message: format!("{gap:?}"),
            retryable: false,
        }
        .into()),
    }
}

struct Poll {
    http: reqwest::Client,
    key: String,
    url: Url,
}

impl Poll {
    fn new(http: &reqwest::Client, (address, key): (&str, &str), topics: &[&str]) -> Result<Poll> {
        let mut url = Url::parse(&format!("http://{address}/v1/messages"))?;
        for topic in topics {
            url.query_pairs_mut().append_pair("topic", topic);
        }
        url.query_pairs_mut().append_pair("wait", "5s");
        Ok(Poll {
            http: http.clone(),
            key: key.to_owned(),
            url,
        })
    }

    async fn page(&self, from: &str) -> Result<Value> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("from", from);
        let response = self.http.get(url).bearer_auth(&self.key).send().await?;
        Ok(accepted(response).await?.json().await?)
    }
}

fn records(body: &Value) -> Result<Vec<Record>> {
    let records = body["records"].as_array();
    let records = records.with_context(|| format!("{body} has records"))?;
    records.iter().map(record).collect()
}

/// A record as JSON has it, as far as tests of order look at it.
fn record(body: &Value) -> Result<Record> {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let record = || {
        Some(Record {
            topic: text("topic")?,
            offset: body["offset"].as_u64()?,
            cursor: text("cursor")?,
            payload: text("data")?.into(),
            ..Record::default()
        })
    };
    record().with_context(|| format!("{body} is no record of text"))
}
