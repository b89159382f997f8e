//! The bound's three processes.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use highwater_e2e::{binary, process::Pid};
use tempfile::TempDir;

/// A leader and two followers, ended when dropped.
pub struct Bound {
    servers: Vec<Child>,
    leader: SocketAddr,
    _folder: TempDir,
}

impl Bound {
    /// Starts them.
    ///
    /// # Errors
    /// When the program was not built.
    pub fn start() -> Result<Bound> {
        let folder = tempfile::tempdir()?;
        let mut servers = Vec::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for number in 0..3 {
            let mut command = Command::new(binary::sibling("bound")?);
            command
                .args(["serve", "--file"])
                .arg(folder.path().join(number.to_string()))
                .stdout(Stdio::piped());
            if number == 2 {
                for follower in &addresses {
                    command.arg("--follower").arg(follower.to_string());
                }
            }
            let mut server = command.spawn()?;
            let stdout = server.stdout.take().context("its stdout")?;
            servers.push(server);
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            addresses.push(line.trim().parse().context("the address it prints")?);
        }
        Ok(Bound {
            servers,
            leader: addresses[2],
            _folder: folder,
        })
    }

    /// The processes.
    pub fn pids(&self) -> Vec<Pid> {
        self.servers.iter().map(|server| Pid(server.id())).collect()
    }

    /// The load generator, but for the shape.
    pub fn load(&self, seconds: f64) -> Command {
        let program = binary::sibling("bound").expect("the servers run it");
        let mut load = Command::new(program);
        load.args(["load", "--leader", &self.leader.to_string()]);
        load.args(["--seconds", &seconds.to_string()]);
        load
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // One that has ended already is no error here.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
