//! Health, metrics and the end.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::stage::Stage;

#[tokio::test]
async fn it_says_how_it_is_doing() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let anybody = served.with("");
    assert_eq!(anybody.get("/livez").await.text, "ok\n");
    let ready = anybody.get("/readyz?verbose").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text.contains("[+] catalogue: ok"), "{}", ready.text);
    stage.operator(&served).tenant("acme").await;
    let metrics = anybody.get("/metrics").await.text;
    for line in [
        "highwater_control_commits_total 1",
        "highwater_control_documents 1",
        "highwater_control_catalogue_version 1",
        "highwater_control_following 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(!metrics.contains("acme"));
    stage.cluster.is_down.store(true, Ordering::SeqCst);
    assert_eq!(
        anybody.get("/readyz").await.status,
        200,
        "what is known is still shown"
    );
}

#[tokio::test]
async fn whoever_says_nothing_is_not_waited_for_at_the_end() {
    let stage = Stage::new().await;
    let control = stage.start("").await;
    let address = control.address();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(control.run_until(stop.clone()));
    let silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stop.cancel();
    let finished = timeout(Duration::from_secs(10), serving)
        .await
        .unwrap()
        .unwrap();
    assert!(finished, "everything was done in time");
    drop(silent);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn it_speaks_tls_with_its_certificate() {
    let stage = Stage::new().await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    stage.put("control.pem", &made.cert.pem());
    stage.put("control.key", &made.signing_key.serialize_pem());
    let control = stage
        .start("tls_cert = \"control.pem\"\ntls_key = \"control.key\"\n")
        .await;
    let port = control.address().port();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(control.run_until(stop.clone()));
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let answer = client
        .get(format!("https://localhost:{port}/livez"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok\n");
    assert!(
        client
            .get(format!("http://localhost:{port}/livez"))
            .send()
            .await
            .is_err()
    );
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_caller_who_asks_too_much_is_told_when_to_come_back() {
    let mut stage = Stage::new().await;
    stage.keys += "\nrequests_per_second = 2";
    let served = stage.serve().await;
    let ann = stage.user(&served, "ann");
    let first = ann.get("/v1/tenants").await;
    assert_eq!(first.headers["ratelimit-policy"], "\"caller\";q=10;w=5");
    assert_eq!(first.headers["ratelimit"], "\"caller\";r=9;t=1");
    let mut reply = first;
    for _ in 0..20 {
        reply = ann.get("/v1/tenants").await;
    }
    reply.refused(429, "rate_limited");
    assert_eq!(reply.headers["retry-after"], "1");
    // Others are not slower for it.
    stage.user(&served, "bob").get("/v1/tenants").await.ok();
    for _ in 0..20 {
        stage.operator(&served).get("/v1/tenants").await.ok();
    }
}
