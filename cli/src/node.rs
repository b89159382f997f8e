//! `highwater node`: runs one node of a cluster until it is told to stop.

use std::path::PathBuf;

use highwater_node::{Config, Node, shutdown, telemetry};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Arguments of `highwater node`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file; see config.example.toml for its keys
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration, and end
    #[arg(long)]
    check: bool,
    /// Stop when the process that started this one ends
    #[arg(long, hide = true)]
    stop_with_parent: bool,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    if args.stop_with_parent {
        let signal = rustix::process::Signal::TERM;
        rustix::process::set_parent_process_death_signal(Some(signal))?;
    }
    let config = Config::read(&args.config, std::env::vars())?;
    if args.check {
        eprintln!("the configuration is fine");
        return Ok(());
    }
    // Before the runtime, because the exporter of traces has a thread and a client of its own.
    let telemetry = telemetry::start(&config, BoxMakeWriter::new(std::io::stderr))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let node = Node::start(config).await?;
        let signalled = stop.clone();
        let on_signal = async move {
            shutdown::signal().await?;
            signalled.cancel();
            anyhow::Ok(())
        };
        let (ran, signalled) = tokio::join!(node.run_until(stop), on_signal);
        signalled?;
        ran
    });
    telemetry.stop();
    result
}
