//! `highwater control-plane`: runs a control plane of a cluster until it is told to stop.

use std::path::PathBuf;

use highwater_control_plane::{Config, ControlPlane, telemetry};
use highwater_credentials::OperatorKeyHash;
use highwater_node::shutdown;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::output::Output;

/// Arguments of `highwater control-plane`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file; see config.example.toml for its keys
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Check the configuration, and end
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an operator's key: the text for the operator, its hash for the configuration
    NewOperatorKey,
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    if let Some(Command::NewOperatorKey) = args.command {
        let (key, hash) = OperatorKeyHash::make_key(&rand::random());
        let hash = hash.to_string();
        let json = json!({ "key": key, "key_hash": hash });
        return output.result(&json, || {
            format!("# For the operator, shown only now:\n# {key}\n[admin]\nkey_hash = \"{hash}\"")
        });
    }
    let path = args.config.expect("clap requires it");
    let config = Config::read(&path, std::env::vars())?;
    if args.check {
        eprintln!("the configuration is fine");
        return Ok(());
    }
    telemetry::start(&config.log, BoxMakeWriter::new(std::io::stderr))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let control_plane = ControlPlane::start(config).await?;
        let on_signal = async {
            shutdown::signal().await?;
            stop.cancel();
            anyhow::Ok(())
        };
        let (in_time, signalled) = tokio::join!(control_plane.run_until(stop.clone()), on_signal);
        signalled?;
        anyhow::ensure!(in_time, "stopping took longer than shutdown_timeout_ms");
        Ok(())
    })
}
