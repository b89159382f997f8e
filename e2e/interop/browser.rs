//! Headless Chromium with one page, and the small server that the page comes from and tells of itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use highwater_e2e::{Cluster, condition::within_deadline};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

use crate::foreign::node_module;

/// What the page posts is small and seldom waits.
const POSTS: usize = 1_024;

/// A browser that shows the page.
pub struct Browser {
    posts: mpsc::Receiver<Value>,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    /// Opens the page, which does what `run` names with these parameters. The cluster's first project allows its
    /// origin from then on.
    ///
    /// # Panics
    /// When Chromium cannot be started.
    pub async fn open(cluster: &Cluster, run: &str, parameters: &Value) -> Browser {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("its address"));
        cluster
            .edit_project(0, |project| project.origins = vec![origin.clone()])
            .await;
        allowed(cluster, &origin).await;

        let (poster, posts) = mpsc::channel(POSTS);
        let page = page(run, parameters);
        tokio::spawn(serve(listener, page, poster));
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            // Without it the browser ends once the page is loaded.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{origin}/page"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!(
                "chromium cannot be started: {error}; HIGHWATER_E2E_WITHOUT=chromium leaves it out"
            )
        });
        Browser {
            posts,
            _process: process,
            _profile: profile,
        }
    }

    /// What the page posts next.
    ///
    /// # Panics
    /// When that is the end of a script that has failed.
    pub async fn post(&mut self) -> Value {
        let post = within_deadline("the page tells something", self.posts.recv()).await;
        let post = post.expect("the page is served for as long as the test");
        assert!(post["failed"].is_null(), "{post}");
        post
    }
}

/// Waits until every node allows the origin.
async fn allowed(cluster: &Cluster, origin: &str) {
    for node in 0..cluster.size() {
        highwater_e2e::eventually("the origin is allowed", async || {
            let request = cluster.http().get(cluster.url(node, "/v1/topics"));
            let request = request.header("origin", origin).bearer_auth(cluster.key());
            let response = request.send().await.expect("an answer");
            response.status().is_success()
        })
        .await;
    }
}

/// The page with everything it needs in it.
fn page(run: &str, parameters: &Value) -> String {
    let script = read(&own("interop/page.js"));
    let libraries = match run {
        "grpc" => libraries(),
        _ => String::new(),
    };
    format!(
        "<!doctype html><meta charset=utf-8><title>page</title>\n{libraries}\n\
         <script>{script}\nstart({run:?}, {parameters})</script>"
    )
}

/// What the page speaks gRPC-web with: its client, protobuf, and the public definition.
fn libraries() -> String {
    let protobuf = read(&node_module("protobufjs/dist/protobuf.min.js"));
    let grpc_web = read(&node_module("grpc-web/index.js"));
    let proto = read(&own("../proto/client/v1/highwater.proto"));
    format!(
        "<script>{protobuf}</script>\n\
         <script>var exports = {{}}, module = {{ exports }};\n{grpc_web}\n</script>\n\
         <script>var grpcWeb = module.exports, proto = {}</script>",
        Value::String(proto)
    )
}

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of text")
}

async fn serve(listener: TcpListener, page: String, poster: mpsc::Sender<Value>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (page, poster) = (page.clone(), poster.clone());
        tokio::spawn(async move {
            // A browser that leaves in the middle is none of the test's business.
            let _ = answer(connection, &page, poster).await;
        });
    }
}

/// Answers one request: the page, or a thank you for a post.
async fn answer(
    connection: TcpStream,
    page: &str,
    poster: mpsc::Sender<Value>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let (mut line, mut length, mut is_page) = (String::new(), 0, false);
    while connection.read_line(&mut line).await? > 2 {
        is_page |= line.starts_with("GET /page ");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    if let Ok(post) = serde_json::from_slice(&body) {
        let _ = poster.send(post).await;
    }
    let page = if is_page { page } else { "" };
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    connection.write_all(answer.as_bytes()).await
}
