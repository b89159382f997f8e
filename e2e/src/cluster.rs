//! A cluster of real processes in a folder of its own, and everything that can be done to it from outside.

use std::{
    fs::{self, File},
    mem,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use highwater_proto::{client::Record, control::Document};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    binary,
    client::Client,
    condition::{eventually, eventually_some},
    faults::{Fault, Faults},
    ledger, logs,
    process::{self, Pid},
};

mod catalogue;
mod certificates;
mod files;
mod ports;

use files::KEY_SECRET;

pub use certificates::Authority;
pub use files::{CLUSTER_SECRET, MqttPorts, Policy, Setup};
pub use ports::take as free_port;

/// What nodes warn of when another one is lost or stops, besides what they always may.
pub const PEER_LOSS_WARNINGS: &[&str] = &[
    "no longer Leader",
    // Requests of the others that reach a shard which has just stopped in order.
    "raft stopped",
    "failed to receive from RaftCore",
    "failed to forward IO completion",
    "failed to send HeartbeatProgress",
    // A node that is stopped right after its start, before it has seen whether its groups are founded.
    "with_raft_state: rx recv error: channel closed",
    // All nodes stop at once.
    "nobody could take over these shards in time",
    "some of what was delivered last is on no bill",
];

/// What several nodes always may warn of: those that start first miss the others, a new leader hears
/// of its own earlier attempts, a busy machine is late with a heartbeat or a greeting, and leadership is
/// handed over to where it belongs at any time.
const CLUSTER_WARNINGS: &[&str] = &[
    "LinkError",
    "because Leader vote changed",
    "failed to send a heartbeat: Err(Elapsed(()))",
    "a peer took too long to say hello",
    "Vote changed, give up Leader-transfer",
    "error sending transfer_leader",
];

/// Clusters that run at the same time in one test program: each has three processes that sync.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// Nodes that were started together. Dropped, it ends them and fails the test if one of them logged
/// a warning that was not expected.
pub struct Cluster {
    nodes: Vec<Node>,
    /// What the catalogue is to begin with.
    documents: Vec<Document>,
    keys: Vec<String>,
    faults: Option<Faults>,
    allowed: Vec<&'static str>,
    http: reqwest::Client,
    /// The authority of the nodes' certificates, where they have some.
    ca: Option<String>,
    folder: TempDir,
    _slot: Option<SemaphorePermit<'static>>,
}

/// One node: its place on disk and in the network, and its process while it runs.
struct Node {
    client: String,
    mqtt: Option<MqttPorts>,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    process: Option<Pid>,
}

impl Cluster {
    /// Three nodes, ready.
    pub async fn start() -> Cluster {
        Cluster::start_with(Setup::default()).await
    }

    /// Starts nodes as the setup says and waits until they are ready.
    ///
    /// # Panics
    /// When they do not become ready.
    pub async fn start_with(setup: Setup) -> Cluster {
        let slot = SLOTS.acquire().await.expect("the semaphore stays open");
        let mut cluster = Cluster::prepare(setup);
        cluster._slot = Some(slot);
        cluster.start_all();
        cluster.all_ready().await;
        let documents = mem::take(&mut cluster.documents);
        cluster.seed(&documents).await;
        cluster
    }

    /// Writes all files and starts nothing yet. Takes no slot.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn prepare(setup: Setup) -> Cluster {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let written = files::write(folder.path(), &setup);
        let faults = setup.faults.then(|| {
            let dir = folder.path().join("faults");
            Faults::install(&dir).expect("the library that fails on demand")
        });
        Cluster {
            nodes: written.nodes,
            documents: written.documents,
            keys: written.keys,
            faults,
            allowed: setup.allowed_warnings,
            http: http_client(written.ca.as_deref()),
            ca: written.ca,
            folder,
            _slot: None,
        }
    }

    /// How many nodes there are, running or not.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// API key of the project that is used where none is named, the first.
    pub fn key(&self) -> &str {
        self.key_of(0)
    }

    /// API key of one of the projects.
    pub fn key_of(&self, project: usize) -> &str {
        &self.keys[project]
    }

    /// A client of one node, for the first project. Nodes count from 0.
    pub fn client(&self, node: usize) -> Client {
        self.client_of(node, 0)
    }

    /// A client of one node, for one of the projects.
    pub fn client_of(&self, node: usize, project: usize) -> Client {
        let (address, key) = (&self.nodes[node].client, &self.keys[project]);
        match &self.ca {
            None => Client::new(address, key),
            Some(ca) => Client::with_tls(address, key, ca),
        }
    }

    /// A client of each node.
    pub fn clients(&self) -> Vec<Client> {
        (0..self.size()).map(|node| self.client(node)).collect()
    }

    /// A node's address for clients.
    pub fn address(&self, node: usize) -> &str {
        &self.nodes[node].client
    }

    /// A node's addresses for clients of MQTT. The setup must have asked for them.
    ///
    /// # Panics
    /// When it did not.
    pub fn mqtt_ports(&self, node: usize) -> &MqttPorts {
        let ports = self.nodes[node].mqtt.as_ref();
        ports.expect("a setup with ports for MQTT")
    }

    /// A node's address of some HTTP path.
    pub fn url(&self, node: usize, path: &str) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.nodes[node].client)
    }

    /// An HTTP client without a credential.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A node's data folder.
    pub fn data_dir(&self, node: usize) -> &Path {
        &self.nodes[node].data
    }

    /// The cluster's folder, which lives as long as the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A running node's process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self, node: usize) -> Pid {
        self.nodes[node].process.expect("the node runs")
    }

    /// All running processes.
    pub fn pids(&self) -> Vec<Pid> {
        self.nodes.iter().filter_map(|node| node.process).collect()
    }

    /// From now on, lines with this text are no reason to fail.
    pub fn allow_warning(&mut self, text: &'static str) {
        self.allowed.push(text);
    }

    /// Starts a node that does not run, on the data it has.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn start_node(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        assert_eq!(node.process, None, "a node runs once");
        let log = File::options().create(true).append(true).open(&node.log);
        let log = log.expect("a log file");
        let mut command = Command::new(binary::highwater());
        command
            .arg("node")
            .arg("--config")
            .arg(&node.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle of the log"))
            .stderr(log);
        if let Some(faults) = &self.faults {
            command.envs(faults.environment());
        }
        node.process = Some(process::spawn(&mut command).expect("the node starts"));
    }

    /// Whether a node's process was started and not ended.
    pub fn is_running(&self, node: usize) -> bool {
        self.nodes[node].process.is_some()
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        for node in 0..self.size() {
            if self.nodes[node].process.is_none() {
                self.start_node(node);
            }
        }
    }

    /// Starts a node and waits until it is ready.
    pub async fn restart(&mut self, node: usize) {
        self.start_node(node);
        self.ready(node).await;
    }

    /// Kills a node with SIGKILL.
    pub async fn kill(&mut self, node: usize) {
        self.kill_together(&[node]).await;
    }

    /// Kills some nodes with SIGKILL, at the same moment as far as one can.
    pub async fn kill_together(&mut self, nodes: &[usize]) {
        let pids: Vec<Pid> = nodes.iter().map(|node| self.pid(*node)).collect();
        pids.iter().for_each(|pid| pid.kill());
        for (pid, node) in pids.iter().zip(nodes) {
            pid.ended().await;
            self.nodes[*node].process = None;
        }
    }

    /// Stops a node in order and waits until its process has ended.
    pub async fn stop(&mut self, node: usize) {
        let pid = self.pid(node);
        pid.terminate();
        pid.ended().await;
        self.nodes[node].process = None;
    }

    /// Stops all nodes in order and starts them again.
    pub async fn restart_all(&mut self) {
        let pids = self.pids();
        pids.iter().for_each(|pid| pid.terminate());
        for pid in pids {
            pid.ended().await;
        }
        self.nodes.iter_mut().for_each(|node| node.process = None);
        self.start_all();
        self.all_ready().await;
    }

    /// Makes a node's disk fail from now on. The setup must have asked for faults.
    ///
    /// # Panics
    /// When it did not.
    pub fn demand(&self, node: usize, fault: Fault) {
        let faults = self.faults.as_ref().expect("a setup with faults");
        faults.demand(self.pid(node), fault);
    }

    /// Lets a node's disk work again.
    ///
    /// # Panics
    /// When it did not fail like this.
    pub fn relieve(&self, node: usize, fault: Fault) {
        let faults = self.faults.as_ref().expect("a setup with faults");
        faults.clear(self.pid(node), fault);
    }

    /// Whether a node says that it can serve.
    pub async fn is_ready(&self, node: usize) -> bool {
        let request = self.http.get(self.url(node, "/readyz"));
        let response = request.timeout(Duration::from_secs(5)).send().await;
        response.is_ok_and(|response| response.status().is_success())
    }

    /// Waits until a node is ready.
    ///
    /// # Panics
    /// When its process ends or it does not become ready.
    pub async fn ready(&self, node: usize) {
        let pid = self.pid(node);
        eventually(&format!("node {node} is ready"), async || {
            assert!(
                !pid.has_ended(),
                "node {node} ended instead of becoming ready"
            );
            self.is_ready(node).await
        })
        .await;
    }

    /// Waits until every running node is ready.
    pub async fn all_ready(&self) {
        for node in 0..self.size() {
            if self.nodes[node].process.is_some() {
                self.ready(node).await;
            }
        }
    }

    /// Everything a node has logged.
    ///
    /// # Panics
    /// When it was never started.
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(&self.nodes[node].log).expect("a log")
    }

    /// What a node says at some path, without a credential.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, node: usize, path: &str) -> reqwest::Result<String> {
        self.http
            .get(self.url(node, path))
            .send()
            .await?
            .text()
            .await
    }

    /// All records of a topic, read from every node's own replica, which all have to agree.
    ///
    /// # Panics
    /// When two replicas differ, or a node tells of a gap.
    pub async fn read_everywhere(&self, topic: &str) -> Vec<Record> {
        let mut replicas: Vec<Vec<Record>> = Vec::new();
        for client in self.clients() {
            let (records, gaps) = client.read_all(topic, "earliest").await.unwrap();
            assert_eq!(gaps, [], "nothing of {topic} has expired");
            replicas.push(records);
        }
        ledger::check_replicas(topic, &replicas);
        replicas.swap_remove(0)
    }

    /// What a node answers as JSON, with the tests' key.
    ///
    /// # Panics
    /// When it does not answer with success.
    pub async fn get_json(&self, node: usize, path: &str) -> serde_json::Value {
        let request = self.http.get(self.url(node, path)).bearer_auth(self.key());
        let response = request.send().await.expect("an answer");
        let response = response.error_for_status().expect("success");
        response.json().await.expect("JSON")
    }

    /// The sum of a metric over its labels, on one node; 0 when there is no such metric.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn metric(&self, node: usize, name: &str) -> f64 {
        let text = self.get(node, "/metrics").await.expect("metrics");
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' '])
                .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// The node that leads the shard of a topic: the one whose proposals publishes to it become.
    ///
    /// # Panics
    /// When publishing fails or no node proposes.
    pub async fn leader(&self, topic: &str) -> usize {
        let running: Vec<usize> = (0..self.size())
            .filter(|node| self.nodes[*node].process.is_some())
            .collect();
        let proposals = async || {
            let mut counts = Vec::new();
            for node in &running {
                counts.push(self.metric(*node, "highwater_proposals_total").await);
            }
            counts
        };
        eventually_some(&format!("a node leads {topic}"), async || {
            let before = proposals().await;
            let client = self.client(running[0]);
            for _ in 0..5 {
                client.publish(topic, "who leads?").await.ok()?;
            }
            let after = proposals().await;
            let grown = after
                .iter()
                .zip(before)
                .map(|(after, before)| after - before);
            let mut proposing = running.iter().zip(grown).filter(|(_, grown)| *grown >= 5.0);
            proposing.next().map(|(node, _)| *node)
        })
        .await
    }

    fn kill_all(&mut self) {
        for node in &mut self.nodes {
            if let Some(pid) = mem::take(&mut node.process) {
                pid.kill();
                // SAFETY: waits for a child of ours, into nothing.
                unsafe { libc::waitpid(pid.0 as libc::pid_t, std::ptr::null_mut(), 0) };
            }
        }
    }

    fn unexpected_warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        // A node alone has nobody to miss.
        let always = if self.size() > 1 {
            CLUSTER_WARNINGS
        } else {
            &[]
        };
        let allowed = [self.allowed.as_slice(), always].concat();
        for (index, node) in self.nodes.iter().enumerate() {
            let log = fs::read_to_string(&node.log).unwrap_or_default();
            let lines = logs::unexpected(&log, &allowed);
            found.extend(lines.iter().map(|line| format!("node {index}: {line}")));
            // Whatever a test does, and whatever it allows.
            let is_secret =
                |line: &&str| line.contains(CLUSTER_SECRET) || line.contains(KEY_SECRET);
            let secret = log.lines().find(is_secret);
            found.extend(secret.map(|line| format!("node {index} logged a secret: {line}")));
        }
        found
    }

    /// For the report of a failed test.
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failure"
    )]
    fn print_logs(&self, warnings: &[String]) {
        eprintln!("\nin {}", self.folder.path().display());
        eprintln!(
            "\nwarnings:\n{}",
            warnings[..warnings.len().min(30)].join("\n")
        );
        for (index, node) in self.nodes.iter().enumerate() {
            eprintln!("\nnode {index} ended with:\n{}", logs::tail(&node.log, 12));
        }
    }
}

/// Trusts the system's authorities, or this one alone.
fn http_client(ca: Option<&str>) -> reqwest::Client {
    let Some(ca) = ca else {
        return reqwest::Client::new();
    };
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([ca]).build();
    client.expect("a client")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Before the end, in which nodes miss each other.
        let warnings = self.unexpected_warnings();
        self.kill_all();
        if std::thread::panicking() {
            self.print_logs(&warnings);
            // For whoever wants to look at logs and data.
            self.folder
                .disable_cleanup(std::env::var_os("HIGHWATER_E2E_KEEP").is_some());
            return;
        }
        if !warnings.is_empty() {
            self.print_logs(&[]);
        }
        assert!(
            warnings.is_empty(),
            "{} unexpected warnings:\n{}",
            warnings.len(),
            warnings[..warnings.len().min(10)].join("\n")
        );
    }
}
