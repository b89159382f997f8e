//! A client of the WebSocket door that speaks its JSON.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::Request,
        http::header::{AUTHORIZATION, HeaderValue},
    },
};

use crate::refusal::{Refusal, ended};

/// A connection that was greeted.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The code with which the service has closed it.
    close_code: Option<u16>,
}

impl Socket {
    /// Connects to `host:port` with a key.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn open(address: &str, key: &str) -> Result<Socket> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        let bearer = HeaderValue::try_from(format!("Bearer {key}"))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        Socket::of(request).await
    }

    /// Connects as a request says.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn of(request: Request<()>) -> Result<Socket> {
        let stream = match connect_async(request).await {
            Ok((stream, _)) => stream,
            Err(Error::Http(response)) => {
                let problem = response.into_body().context("a refusal has a body")?;
                return Err(serde_json::from_slice::<Refusal>(&problem)?.into());
            }
            Err(error) => return Err(error.into()),
        };
        let mut socket = Socket {
            stream,
            close_code: None,
        };
        let hello = socket.next().await?;
        ensure!(hello["type"] == "hello", "{hello} is no greeting");
        Ok(socket)
    }

    /// Subscribes, and gives the cursor of the receipt.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn subscribe(&mut self, id: u64, topics: &[&str], from: &str) -> Result<String> {
        let subscribe = json!({"type": "subscribe", "id": id, "topics": topics, "from": from});
        self.receipt(id, subscribe).await
    }

    /// Joins a group that shares a filter, with room for so many records. Gives the cursor of the receipt.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn join(
        &mut self,
        id: u64,
        (group, filter): (&str, &str),
        room: u64,
    ) -> Result<String> {
        let subscribe = json!({
            "type": "subscribe", "id": id, "topics": [filter], "group": group,
            "credit": {"messages": room},
        });
        self.receipt(id, subscribe).await
    }

    async fn receipt(&mut self, id: u64, subscribe: Value) -> Result<String> {
        self.send(&subscribe).await?;
        let receipt = self.next().await?;
        let is_receipt = receipt["type"] == "subscribed" && receipt["id"] == id;
        ensure!(is_receipt, "{receipt} is no receipt of {id}");
        let cursor = receipt["cursor"].as_str();
        Ok(cursor.context("a receipt has a cursor")?.to_owned())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What became of the connection.
    pub async fn send(&mut self, message: &Value) -> Result<()> {
        Ok(self.stream.send(Message::text(message.to_string())).await?)
    }

    /// The next message.
    ///
    /// # Errors
    /// A message that refuses something, or the end of the connection.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let message = self.stream.next().await;
            let text = match message.ok_or_else(ended)?? {
                Message::Text(text) => text,
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(frame) => {
                    self.close_code = frame.as_ref().map(|frame| frame.code.into());
                    bail!("the service closed the connection: {frame:?}");
                }
                other => bail!("{other:?} is no JSON"),
            };
            let message: Value = serde_json::from_str(&text)?;
            if message["type"] == "error" {
                return Err(serde_json::from_value::<Refusal>(message)?.into());
            }
            return Ok(message);
        }
    }

    /// The code with which the service has closed the connection.
    pub fn close_code(&self) -> Option<u16> {
        self.close_code
    }
}
