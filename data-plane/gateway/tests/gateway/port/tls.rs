//! TLS, with the protocol chosen by ALPN.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use highwater_gateway::Options;
use highwater_mqtt::{Packet, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{
    mqtt::peer as mqtt,
    stage::{Stage, within},
};

/// A stage with a certificate for `localhost`, and that certificate.
async fn stage() -> (Stage, CertificateDer<'static>) {
    stage_with(Options::default()).await
}

async fn stage_with(options: Options) -> (Stage, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let stage = Stage::with(1, options, Some(Arc::new(config))).await;
    (stage, certificate)
}

fn connector(certificate: CertificateDer<'static>, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

#[tokio::test]
async fn a_cookie_of_an_encrypted_connection_is_for_such_alone() {
    let (stage, certificate) = stage().await;
    let socket = TcpStream::connect(stage.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = connector(certificate, &["http/1.1"]);
    let stream = within(connector.connect(name, socket)).await.unwrap();
    let handshake = conn::http1::handshake(TokioIo::new(stream));
    let (mut client, connection) = within(handshake).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(async move { connection.await.is_ok() });
    let post = Request::post("/v1/tickets")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", stage.key))
        .body(Empty::<Bytes>::new());
    let response = within(client.send_request(post.unwrap())).await.unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    let issued: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let ticket = issued["ticket"].as_str().unwrap();
    let get = Request::get(format!("/v1/sse?topic=a&ticket={ticket}"))
        .header("host", "localhost")
        .body(Empty::new());
    within(client.ready()).await.unwrap();
    let response = within(client.send_request(get.unwrap())).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.ends_with("; HttpOnly; Secure; SameSite=Strict"),
        "{cookie}"
    );
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let (stage, certificate) = stage().await;
    let mut running = JoinSet::new();
    for (offered, chosen) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let socket = TcpStream::connect(stage.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(certificate.clone(), offered);
        let stream = within(connector.connect(name, socket)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
        let io = TokioIo::new(stream);
        let request = Request::get("https://localhost/v1/messages/a")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", stage.key))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = match chosen {
            "h2" => {
                let (mut client, connection) =
                    within(conn::http2::handshake(TokioExecutor::new(), io))
                        .await
                        .unwrap();
                running.spawn(async move { connection.await.is_ok() });
                within(client.send_request(request)).await.unwrap()
            }
            _ => {
                let (mut client, connection) = within(conn::http1::handshake(io)).await.unwrap();
                running.spawn(async move { connection.await.is_ok() });
                within(client.send_request(request)).await.unwrap()
            }
        };
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn mqtt_is_spoken_over_tls_whether_or_not_it_is_named_in_the_handshake() {
    let (stage, certificate) = stage().await;
    for offered in [&["mqtt"][..], &[]] {
        let socket = TcpStream::connect(stage.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(certificate.clone(), offered);
        let mut stream = within(connector.connect(name, socket)).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol();
        assert_eq!(chosen, offered.first().map(|name| name.as_bytes()));
        let mut bytes = BytesMut::new();
        let connect = Packet::from(mqtt::connect(&stage, Version::V3_1_1, ""));
        connect.encode(Version::V3_1_1, &mut bytes).unwrap();
        within(stream.write_all(&bytes)).await.unwrap();
        let mut answer = [0; 4];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0], "a CONNACK that accepts");
    }
}

#[tokio::test]
async fn a_port_with_tls_answers_nothing_without_it() {
    let (stage, _) = stage().await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn the_time_to_begin_is_one_with_that_of_the_handshake() {
    let (stage, certificate) = stage_with(Options {
        header_timeout: Duration::from_secs(3),
        ..Options::default()
    })
    .await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let begun = Instant::now();
    // The client's own slowness: most of its time.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = connector(certificate, &[]).connect(name, &mut socket);
    let mut stream = within(handshake).await.unwrap();
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
    assert!(begun.elapsed() < Duration::from_millis(4_500));
}
