//! A client of NATS that speaks its text protocol, as far as the benchmark needs it.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, Instant, sleep, timeout},
};

/// In which the servers find each other and elect the leader of their metadata.
const FOUNDING: Duration = Duration::from_secs(60);
/// How long the servers may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with a subject for answers.
pub struct NatsClient(BufReader<TcpStream>);

impl NatsClient {
    /// Connects to servers that have just been started, and makes a stream with three replicas for the subject of
    /// the same name. When it is there, so are all servers.
    ///
    /// # Errors
    /// When the servers do not come about.
    pub async fn with_stream(address: &str, stream: &str) -> Result<NatsClient> {
        let create = json!({
            "name": stream, "subjects": [stream], "num_replicas": 3,
            "retention": "limits", "storage": "file",
            // As it comes, a stream has a thousand at most.
            "max_consumers": 100_000,
        });
        let subject = format!("$JS.API.STREAM.CREATE.{stream}");
        let deadline = Instant::now() + FOUNDING;
        loop {
            let attempt = async {
                let mut client = NatsClient::connect(address).await?;
                let answer = client.request(&subject, &create.to_string()).await?;
                ensure!(answer["error"].is_null(), "{answer}");
                Ok(client)
            };
            match attempt.await {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)).await,
                client => return client,
            }
        }
    }

    async fn connect(address: &str) -> Result<NatsClient> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let hello = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB answer 1\r\n";
        socket.write_all(hello).await?;
        Ok(NatsClient(BufReader::new(socket)))
    }

    async fn request(&mut self, subject: &str, body: &str) -> Result<Value> {
        let request = format!("PUB {subject} answer {}\r\n{body}\r\n", body.len());
        self.0.write_all(request.as_bytes()).await?;
        self.answer().await?.context("an answer with a body")
    }

    /// Publishes a payload so many times, and waits until a server has taken all of them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn publish(&mut self, subject: &str, payload: &str, count: usize) -> Result<()> {
        let one = format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
        self.0
            .write_all((one.repeat(count) + "PING\r\n").as_bytes())
            .await?;
        match self.answer().await? {
            None => Ok(()),
            Some(other) => bail!("{other} is no PONG"),
        }
    }

    /// Publishes a payload to a stream so many times, and waits until all of them are acknowledged.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn publish_acked(
        &mut self,
        subject: &str,
        payload: &str,
        count: usize,
    ) -> Result<()> {
        let one = format!("PUB {subject} answer {}\r\n{payload}\r\n", payload.len());
        self.0.write_all(one.repeat(count).as_bytes()).await?;
        for _ in 0..count {
            let ack = self.answer().await?.context("an ack has a body")?;
            ensure!(ack["seq"].is_u64(), "{ack} is no ack");
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<Option<Value>> {
        let answer = timeout(ANSWER_TIMEOUT, self.next()).await;
        answer.context("no answer of NATS")?
    }

    /// The body of the next message, or nothing for a PONG.
    async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            let mut line = String::new();
            ensure!(
                self.0.read_line(&mut line).await? > 0,
                "the connection has ended"
            );
            match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                ["PONG"] => return Ok(None),
                ["PING"] => self.0.write_all(b"PONG\r\n").await?,
                ["MSG", .., len] => {
                    // With the end of the line.
                    let mut body = vec![0; len.parse::<usize>()? + 2];
                    self.0.read_exact(&mut body).await?;
                    return Ok(Some(serde_json::from_slice(&body)?));
                }
                ["-ERR", ..] => bail!("NATS refuses: {line}"),
                _ => {}
            }
        }
    }
}
