//! `highwater dev`: a cluster for development in one terminal, ready to use, its data kept in a folder.
//!
//! One node runs in this process. Several run as processes of their own, each `highwater node` with a
//! configuration written here, so that one of them can be killed to see what happens.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highwater_node::{Config, Node, shutdown, telemetry};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

mod banner;
mod children;
mod control_plane;
mod layout;
mod seed;

use layout::Layout;

use crate::{exit::Exit, output::Output};

/// How long a cluster may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the control plane may take to stop, which has nothing to finish but requests.
const CONTROL_PLANE_STOP: Duration = Duration::from_secs(3);

/// Arguments of `highwater dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes of the cluster; several run as processes of their own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: u32,
    /// Shards of the cluster; fixed when the folder is first used
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// Port of the first node for clients; the others, those between nodes and the control plane's follow. 0 takes
    /// free ones
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Where data is kept [default: data/dev-<nodes>]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Keep data in a temporary folder that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Start a node again when its process ends
    #[arg(long)]
    restart: bool,
    /// What the nodes log, into a file in the folder
    #[arg(long, default_value = "info")]
    log: String,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let begun = Instant::now();
    // Removed when it is dropped, which is at the end of this function.
    let temporary = match args.ephemeral {
        true => Some(
            tempfile::Builder::new()
                .prefix("highwater-dev-")
                .tempdir()?,
        ),
        false => None,
    };
    let folder = match (&temporary, &args.data_dir) {
        (Some(temporary), _) => temporary.path().to_owned(),
        (None, Some(folder)) => folder.clone(),
        (None, None) => PathBuf::from(format!("data/dev-{}", args.nodes)),
    };
    let layout = Layout::prepare(&folder, &args)?;
    eprintln!(
        "starting {} in {}",
        banner::nodes(args.nodes),
        folder.display()
    );
    let ready = |pids: &[u32]| banner::print(output, &layout, pids, begun.elapsed());
    match args.nodes {
        1 => run_here(&layout, ready),
        _ => children::run(&layout, args.restart, ready),
    }
}

/// Runs one node in this process.
fn run_here(
    layout: &Layout,
    ready: impl FnOnce(&[u32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (config, log) = (&layout.nodes[0].config, &layout.nodes[0].log);
    // The variables of a real node are not for this one.
    let config = Config::read(config, std::iter::empty())?;
    let log_file =
        std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let telemetry = telemetry::start(&config, BoxMakeWriter::new(std::sync::Arc::new(log_file)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let node = Node::start(config).await?;
        let until_ready = node.wait_ready(READY_TIMEOUT);
        let on_signal = async {
            let stop_control_plane = CancellationToken::new();
            let mut started = Box::pin(async {
                anyhow::ensure!(until_ready.await, not_ready(log));
                seed::plant(layout).await?;
                let control_plane = control_plane::start(layout).await?;
                ready(&[std::process::id()])?;
                control_plane.run_until(stop_control_plane.clone()).await;
                Ok(())
            });
            let ended = tokio::select! {
                ended = shutdown::signal() => {
                    eprintln!("stopping");
                    stop_control_plane.cancel();
                    // It may have been about to start only.
                    let _ = timeout(CONTROL_PLANE_STOP, started).await;
                    ended.map_err(anyhow::Error::from)
                }
                failed = &mut started => failed,
            };
            stop.cancel();
            ended
        };
        let (ran, signalled) = tokio::join!(node.run_until(stop.clone()), on_signal);
        signalled.and(ran)
    });
    telemetry.stop();
    result
}

fn not_ready(log: &Path) -> Exit {
    let seconds = READY_TIMEOUT.as_secs();
    Exit::unavailable(format!(
        "not ready within {seconds} s; see {}",
        log.display()
    ))
}
