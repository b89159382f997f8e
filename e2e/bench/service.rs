//! Servers that subscribers connect to, started for one turn: whose they are, where they are, and how they are
//! published to.

use std::{fmt, path::PathBuf};

use anyhow::Result;
use highwater_e2e::{
    Client, Cluster,
    client::request,
    cluster::Setup,
    eventually_some,
    mqtt::{self, Mqtt},
    process::Pid,
};
use highwater_mqtt::{
    Qos, Version,
    packet::publish::{Delivery, Publish},
};
use tokio::net::TcpStream;

use crate::{
    contender::{Mosquitto, Nats, NatsClient, highwater},
    door::Door,
};

/// Whose servers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Three nodes, every message replicated and synced.
    Highwater,
    /// Three servers, which replicate what is in a stream.
    Nats,
    /// One process.
    Mosquitto,
}

/// Servers that run, ended when dropped.
pub struct Service {
    servers: Servers,
    door: Door,
    addresses: Vec<String>,
    /// Whoever publishes to NATS; it has made sure that all servers are there.
    nats: Option<NatsClient>,
}

enum Servers {
    Highwater(Box<Cluster>),
    Nats(Nats),
    Mosquitto(Mosquitto),
}

/// The one that publishes, and knows of every message that it was taken.
pub enum Publisher {
    Highwater(Client),
    Subject(NatsClient),
    Stream(NatsClient),
    Mqtt(Box<Mqtt>),
}

/// The stream of NATS, and its subject.
const STREAM: &str = "stored";
/// The topic of everyone else.
const TOPIC: &str = "crowd";

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.servers {
            Servers::Highwater(_) => f.write_str("highwater"),
            Servers::Nats(_) if self.door == Door::NatsWebSocket => f.write_str("nats core"),
            Servers::Nats(_) => f.write_str("nats R3"),
            Servers::Mosquitto(mosquitto) => f.write_str(&mosquitto.version),
        }
    }
}

impl Service {
    /// Starts them and waits until they take connections.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn start(owner: Owner, door: Door) -> Result<Service> {
        Service::start_with(owner, door, Setup::default()).await
    }

    /// The same with another setup of Highwater.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn start_with(owner: Owner, door: Door, setup: Setup) -> Result<Service> {
        let (servers, addresses, nats) = match owner {
            Owner::Highwater => {
                let cluster = highwater(setup).await;
                let address = |node| cluster.address(node).to_owned();
                let addresses = (0..cluster.size()).map(address).collect();
                (Servers::Highwater(Box::new(cluster)), addresses, None)
            }
            Owner::Nats => {
                let nats = Nats::start(false)?;
                let client = NatsClient::with_stream(&nats.addresses()[0], STREAM).await?;
                let addresses = match door {
                    Door::Mqtt => nats.mqtt_addresses(),
                    _ => nats.web_socket_addresses(),
                };
                (Servers::Nats(nats), addresses, Some(client))
            }
            Owner::Mosquitto => {
                let mosquitto = Mosquitto::start()?;
                let addresses = vec![mosquitto.address.clone()];
                (Servers::Mosquitto(mosquitto), addresses, None)
            }
        };
        for address in &addresses {
            eventually_some("a server listens", async || {
                TcpStream::connect(address).await.ok()
            })
            .await;
        }
        Ok(Service {
            servers,
            door,
            addresses,
            nats,
        })
    }

    /// The address for the client with this number: they take turns.
    pub fn address(&self, number: usize) -> &str {
        &self.addresses[number % self.addresses.len()]
    }

    /// What a client shows; those who ask for nothing do not look at it.
    pub fn key(&self) -> &str {
        match &self.servers {
            Servers::Highwater(cluster) => cluster.key(),
            _ => "",
        }
    }

    /// The file of the authority to trust, where TLS is spoken.
    pub fn authority(&self) -> Option<PathBuf> {
        let Servers::Highwater(cluster) = &self.servers else {
            return None;
        };
        Some(cluster.folder().join("ca.pem")).filter(|file| file.exists())
    }

    /// The processes.
    pub fn pids(&self) -> Vec<Pid> {
        match &self.servers {
            Servers::Highwater(cluster) => cluster.pids(),
            Servers::Nats(nats) => nats.pids(),
            Servers::Mosquitto(mosquitto) => vec![mosquitto.pid()],
        }
    }

    /// What subscribers through its door subscribe to.
    pub fn topic(&self) -> &'static str {
        match self.door {
            Door::JetStream => STREAM,
            _ => TOPIC,
        }
    }

    /// Subscribes through its door.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn subscribe(&self, number: usize) -> Result<TcpStream> {
        let address = self.address(number);
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let door = self.door;
        door.subscribe(&mut socket, (address, self.key()), self.topic())
            .await?;
        Ok(socket)
    }

    /// A publisher to all who have subscribed through its door. NATS has one.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn publisher(&mut self) -> Result<Publisher> {
        Ok(match (&self.servers, self.nats.take()) {
            (Servers::Highwater(cluster), _) => Publisher::Highwater(cluster.client(0)),
            (Servers::Nats(_), Some(client)) if self.door == Door::JetStream => {
                Publisher::Stream(client)
            }
            (Servers::Nats(_), Some(client)) => Publisher::Subject(client),
            _ => {
                let connect = mqtt::connect(Version::V3_1_1, "", self.key());
                let client = Mqtt::open(self.address(0), connect).await?;
                Publisher::Mqtt(Box::new(client))
            }
        })
    }
}

impl Publisher {
    /// Publishes a text so many times at once, and waits until all of them were taken.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn publish(&mut self, text: &str, count: usize) -> Result<()> {
        match self {
            Publisher::Highwater(client) => {
                let publishes = (0..count).map(|_| request(TOPIC, text.to_owned(), ""));
                client.publish_requests(publishes, count).await?;
            }
            Publisher::Subject(client) => client.publish(TOPIC, text, count).await?,
            Publisher::Stream(client) => client.publish_acked(STREAM, text, count).await?,
            Publisher::Mqtt(client) => {
                for _ in 0..count {
                    let payload = text.as_bytes().to_vec().into();
                    let publish = Publish::new(mqtt::name(TOPIC), Delivery::AtMostOnce, payload);
                    client.begin(publish, Qos::AtLeastOnce).await?;
                }
                while client.unfinished() > 0 {
                    client.step().await?;
                }
            }
        }
        Ok(())
    }
}
