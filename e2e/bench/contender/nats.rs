//! NATS JetStream's three processes, built from the Go module proxy.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use anyhow::{Context, Result, anyhow, ensure};
use highwater_e2e::{cluster::free_port, process::Pid};
use tempfile::TempDir;

use super::sources;

/// Three clustered servers, ended when dropped.
pub struct Nats {
    /// Whether each write is synced, instead of all of them every two minutes.
    pub syncs_always: bool,
    servers: Vec<Child>,
    ports: Vec<String>,
    web_socket_ports: Vec<String>,
    mqtt_ports: Vec<String>,
    _folder: TempDir,
}

static PROGRAM: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| build().map_err(|error| format!("{error:#}")));

fn build() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let program = exe.with_file_name("rivals");
    let output = Command::new("go")
        .args(["build", "-o"])
        .args([&program, Path::new(".")])
        .current_dir(sources())
        .output()
        .context("go is not installed")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "go build failed: {errors}");
    Ok(program)
}

impl Nats {
    /// Starts them. Clients may connect a moment later.
    ///
    /// # Errors
    /// When Go or the module cannot be had.
    pub fn start(syncs_always: bool) -> Result<Nats> {
        let program = PROGRAM.as_ref().map_err(|error| anyhow!("{error}"))?;
        let folder = tempfile::tempdir()?;
        let free_ports = || -> Vec<String> { (0..3).map(|_| free_port().to_string()).collect() };
        let (ports, peers) = (free_ports(), free_ports());
        let (web_socket_ports, mqtt_ports) = (free_ports(), free_ports());
        let mut servers = Vec::new();
        for index in 0..3 {
            let mut command = Command::new(program);
            command
                .args(["nats-server", "--name", &format!("n{index}")])
                .args(["--port", &ports[index], "--cluster-port", &peers[index]])
                .args(["--websocket-port", &web_socket_ports[index]])
                .args(["--mqtt-port", &mqtt_ports[index]])
                .args(["--routes", &peers.join(",")])
                .args([&format!("--sync-always={syncs_always}"), "--dir"])
                .arg(folder.path().join(index.to_string()))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            servers.push(command.spawn()?);
        }
        Ok(Nats {
            syncs_always,
            servers,
            ports,
            web_socket_ports,
            mqtt_ports,
            _folder: folder,
        })
    }

    /// The processes.
    pub fn pids(&self) -> Vec<Pid> {
        self.servers.iter().map(|server| Pid(server.id())).collect()
    }

    /// Addresses for its own text protocol.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.ports)
    }

    /// Addresses for the same in WebSockets.
    pub fn web_socket_addresses(&self) -> Vec<String> {
        addresses(&self.web_socket_ports)
    }

    /// Addresses for MQTT.
    pub fn mqtt_addresses(&self) -> Vec<String> {
        addresses(&self.mqtt_ports)
    }

    /// The load generator, but for the shape.
    pub fn load(&self, seconds: f64) -> Command {
        let program = PROGRAM.as_ref().expect("the servers run it");
        let urls: Vec<String> = self
            .addresses()
            .iter()
            .map(|address| format!("nats://{address}"))
            .collect();
        let mut load = Command::new(program);
        load.args(["nats-load", "--urls", &urls.join(",")]);
        load.args(["--seconds", &seconds.to_string()]);
        load
    }
}

fn addresses(ports: &[String]) -> Vec<String> {
    let address = |port: &String| format!("127.0.0.1:{port}");
    ports.iter().map(address).collect()
}

impl Drop for Nats {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // One that has ended already is no error here.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
