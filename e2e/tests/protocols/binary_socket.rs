//! A WebSocket with the subprotocol of protobuf messages.

use futures_util::{SinkExt, StreamExt};
use highwater_e2e::{Cluster, condition::within_deadline};
use highwater_proto::client::{SocketRequest, SocketResponse, socket_response::Response};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// A connection that was greeted.
pub struct BinarySocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl BinarySocket {
    pub async fn open(cluster: &Cluster, node: usize) -> BinarySocket {
        let url = format!("ws://{}/v1/ws", cluster.address(node));
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        let bearer = format!("Bearer {}", cluster.key());
        headers.insert("authorization", HeaderValue::try_from(bearer).unwrap());
        let subprotocol = HeaderValue::from_static("highwater.v1.proto");
        headers.insert("sec-websocket-protocol", subprotocol);
        let (stream, _) = connect_async(request).await.unwrap();
        let mut socket = BinarySocket(stream);
        let hello = socket.next().await;
        assert!(matches!(hello, Response::Hello(_)), "{hello:?}");
        socket
    }

    pub async fn send(&mut self, request: SocketRequest) {
        let message = Message::binary(request.encode_to_vec());
        self.0.send(message).await.unwrap();
    }

    pub async fn next(&mut self) -> Response {
        loop {
            let message = within_deadline("there is a message", self.0.next()).await;
            match message.unwrap().unwrap() {
                Message::Binary(bytes) => {
                    let response = SocketResponse::decode(bytes).unwrap();
                    return response.response.expect("a response says something");
                }
                Message::Ping(_) => {}
                other => panic!("{other:?} is no protobuf"),
            }
        }
    }

    pub async fn published(&mut self) {
        let answer = self.next().await;
        assert!(matches!(answer, Response::Published(_)), "{answer:?}");
    }
}
