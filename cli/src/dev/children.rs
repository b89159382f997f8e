//! The nodes of a development cluster as processes: started, watched, and stopped with this one.

use std::{
    fs, os::unix::process::CommandExt as _, path::Path, process::ExitStatus, time::Duration,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use highwater_node::shutdown;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    CONTROL_PLANE_STOP, READY_TIMEOUT, control_plane,
    layout::{Layout, NodeFiles},
    not_ready, seed,
};

/// How long a node may take to stop before it is killed; longer than it gives itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs them until this process is told to stop.
pub fn run(
    layout: &Layout,
    restart: bool,
    ready: impl FnOnce(&[u32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let nodes = &layout.nodes;
    // On this thread alone: the nodes end with the thread that started them.
    crate::client::block_on(async {
        let mut children = nodes
            .iter()
            .map(start)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let ran = watch(layout, &mut children, restart, ready).await;
        eprintln!("stopping");
        join_all(children.iter_mut().map(stop)).await;
        ran
    })
}

fn start(node: &NodeFiles) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&node.log);
    let log = log.with_context(|| format!("cannot write {}", node.log.display()))?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .args(["node", "--stop-with-parent", "--config"])
        .arg(&node.config)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        // A group of its own, or Ctrl-C would reach all nodes at once, past the order of stopping.
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        // The variables of a real node are not for these.
        if name.to_string_lossy().starts_with("HIGHWATER_") {
            command.env_remove(name);
        }
    }
    let child = Command::from(command).spawn();
    child.with_context(|| format!("cannot start node {}", node.id))
}

async fn watch(
    layout: &Layout,
    children: &mut [Child],
    restart: bool,
    ready: impl FnOnce(&[u32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let nodes = &layout.nodes;
    let mut ready = Some(ready);
    let stop = CancellationToken::new();
    let (is_ready, mut became_ready) = mpsc::channel(1);
    let signalled = shutdown::signal();
    tokio::pin!(signalled);
    let all_ready = async {
        let waits = join_all(nodes.iter().map(wait_ready)).await;
        let started = async {
            waits.into_iter().collect::<anyhow::Result<()>>()?;
            seed::plant(layout).await?;
            control_plane::start(layout).await
        };
        let (control_plane, outcome) = match started.await {
            Ok(control_plane) => (Some(control_plane), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let _ = is_ready.send(outcome).await;
        if let Some(control_plane) = control_plane {
            control_plane.run_until(stop.clone()).await;
        }
        if !stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(all_ready);
    loop {
        tokio::select! {
            ended = &mut signalled => {
                stop.cancel();
                // It may have been about to start only.
                let _ = timeout(CONTROL_PLANE_STOP, all_ready).await;
                return Ok(ended?);
            }
            () = &mut all_ready => {}
            Some(result) = became_ready.recv() => {
                result?;
                let pids: Vec<u32> = children.iter().filter_map(Child::id).collect();
                if let Some(ready) = ready.take() {
                    ready(&pids)?;
                }
            }
            (index, status) = first_end(children) => {
                report(&nodes[index], status);
                anyhow::ensure!(ready.is_none(), "a node ended before the cluster was ready");
                if restart {
                    // Not at once, lest a node that cannot start keeps the machine busy.
                    sleep(Duration::from_millis(500)).await;
                    children[index] = start(&nodes[index])?;
                    eprintln!("node {} started again", nodes[index].id);
                } else if children.iter().all(|child| child.id().is_none()) {
                    anyhow::bail!("no node is left");
                }
            }
        }
    }
}

/// Waits for the end of any child that still runs.
async fn first_end(children: &mut [Child]) -> (usize, std::io::Result<ExitStatus>) {
    let running = children.iter_mut().enumerate();
    let ends = running.filter(|(_, child)| child.id().is_some());
    let ends: Vec<_> = ends
        .map(|(index, child)| Box::pin(async move { (index, child.wait().await) }))
        .collect();
    match ends.is_empty() {
        true => std::future::pending().await,
        false => futures_util::future::select_all(ends).await.0,
    }
}

fn report(node: &NodeFiles, status: std::io::Result<ExitStatus>) {
    let status = match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    eprintln!("node {} ended: {status}; its log ends with", node.id);
    for line in last_lines(&node.log, 5) {
        eprintln!("  {line}");
    }
}

fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().rev().take(count).map(str::to_owned).collect();
    lines.reverse();
    lines
}

async fn wait_ready(node: &NodeFiles) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let url = format!("http://{}/readyz", node.client);
    let poll = async {
        loop {
            let answer = client
                .get(&url)
                .timeout(Duration::from_secs(2))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            sleep(Duration::from_millis(25)).await;
        }
    };
    timeout(READY_TIMEOUT, poll)
        .await
        .map_err(|_| not_ready(&node.log))?;
    Ok(())
}

/// Asks a node to stop, and kills it when it does not.
async fn stop(child: &mut Child) {
    let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) else {
        return;
    };
    let _ = kill_process(pid, Signal::TERM);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        eprintln!(
            "process {} did not stop in time and is killed",
            pid.as_raw_nonzero()
        );
        let _ = child.kill().await;
    }
}
