//! Calls made by hand, byte for byte, over one connection of HTTP/2.

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use hyper::{Request, Version};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::Status;

use crate::stage::{Stage, within};

pub const SERVICE: &str = "/highwater.client.v1.Highwater";

pub struct Raw {
    client: SendRequest<Bytes>,
    url: String,
    key: String,
    _running: JoinSet<()>,
}

impl Raw {
    pub async fn connect(stage: &Stage) -> Raw {
        let socket = TcpStream::connect(stage.address).await.unwrap();
        let (client, connection) = within(h2::client::handshake(socket)).await.unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move {
            // It ends with the test, or as the test wants it to.
            let _ = connection.await;
        });
        Raw {
            client,
            url: stage.url(""),
            key: stage.key.clone(),
            _running: running,
        }
    }

    /// Begins a request with a part of its body, and ends it or not.
    pub async fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("{}{path}", self.url))
            .version(Version::HTTP_2)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut client = within(self.client.clone().ready()).await.unwrap();
        let request = request.body(()).unwrap();
        let (response, mut sender) = client.send_request(request, false).unwrap();
        sender.send_data(body.into(), ends).unwrap();
        (response, sender)
    }

    /// Makes a call that must not succeed.
    pub async fn call(&self, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Status {
        let body = Bytes::copy_from_slice(body);
        let path = format!("{SERVICE}/{method}");
        let (response, _sender) = self.begin(&path, headers, body, true).await;
        status(response).await
    }
}

/// The status that ends a call, which stands in the headers or behind the body.
pub async fn status(response: ResponseFuture) -> Status {
    let response = within(response).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    while let Some(piece) = within(body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    let trailers = within(body.trailers()).await.unwrap().expect("trailers");
    Status::from_header_map(&trailers).expect("a status")
}

/// A message with its prefix.
pub fn message(flag: u8, bytes: &[u8]) -> Vec<u8> {
    [&prefix(flag, bytes.len())[..], bytes].concat()
}

/// What comes before a message of so many bytes.
pub fn prefix(flag: u8, length: usize) -> Vec<u8> {
    [&[flag][..], &(length as u32).to_be_bytes()].concat()
}
