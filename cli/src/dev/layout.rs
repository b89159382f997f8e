//! The folder of a development cluster: what is made up at its first start, and the files of each node.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use highwater_credentials::{KeyHasher, OperatorKeyHash};
use highwater_proto::ids::{KeyId, ProjectId, TenantId};
use serde::{Deserialize, Serialize};

use super::Args;
use crate::exit::Exit;

/// What stays the same between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Nodes of the cluster.
    pub nodes: u32,
    /// Its shards.
    pub shards: u32,
    /// What the nodes share.
    pub cluster_secret: String,
    /// The one tenant.
    pub tenant: String,
    /// Its one project.
    pub project: String,
    /// The key that may do everything there.
    pub key: String,
    /// The key that may administer everything.
    pub operator_key: String,
}

/// One node's files and addresses.
#[derive(Debug, Clone)]
pub struct NodeFiles {
    /// Its id.
    pub id: u32,
    /// For clients.
    pub client: SocketAddr,
    /// For the other nodes.
    pub peer: SocketAddr,
    /// Its data.
    pub data_dir: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// What it logs.
    pub log: PathBuf,
}

/// The control plane's files and address.
#[derive(Debug, Clone)]
pub struct ControlPlaneFiles {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its configuration.
    pub config: PathBuf,
}

/// A folder that is ready to be run.
#[derive(Debug)]
pub struct Layout {
    /// The folder.
    pub folder: PathBuf,
    /// What stays the same between runs.
    pub identity: Identity,
    /// The nodes.
    pub nodes: Vec<NodeFiles>,
    /// The control plane.
    pub control_plane: ControlPlaneFiles,
    // Keeps a second cluster out of the folder for as long as this process lives.
    _lock: fs::File,
}

impl Layout {
    /// Makes the folder, or checks that it is one of these, and writes the nodes' files.
    pub fn prepare(folder: &Path, args: &Args) -> anyhow::Result<Layout> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let lock = lock(&folder)?;
        let identity = identity(&folder, args)?;
        let (addresses, control_plane) = addresses(args.nodes, args.port)?;
        let nodes = addresses
            .into_iter()
            .zip(1..)
            .map(|((client, peer), id)| NodeFiles {
                id,
                client,
                peer,
                data_dir: folder.join(format!("node-{id}")),
                config: folder.join(format!("node-{id}.toml")),
                log: folder.join(format!("node-{id}.log")),
            })
            .collect();
        let layout = Layout {
            identity,
            nodes,
            control_plane: ControlPlaneFiles {
                address: control_plane,
                config: folder.join("control-plane.toml"),
            },
            folder,
            _lock: lock,
        };
        layout.write(args)?;
        Ok(layout)
    }

    fn write(&self, args: &Args) -> anyhow::Result<()> {
        write_private(
            &self.folder.join("cluster.secret"),
            &self.identity.cluster_secret,
        )?;
        let peers: String = self
            .nodes
            .iter()
            .map(|node| format!("{} = \"{}\"\n", node.id, node.peer))
            .collect();
        for node in &self.nodes {
            let text = format!(
                "# Written at each start of `highwater dev`.\n\
                 node = {}\ncluster = \"dev\"\ncluster_secret_file = \"cluster.secret\"\n\
                 data_dir = \"node-{}\"\nshards = {}\n\
                 shutdown_timeout_ms = 10000\n\
                 [client]\nlisten = \"{}\"\n[peer]\nlisten = \"{}\"\n[peers]\n{peers}\
                 [log]\nformat = \"text\"\nlevel = {}\n",
                node.id,
                node.id,
                self.identity.shards,
                node.client,
                node.peer,
                toml::Value::from(args.log.as_str()),
            );
            write_private(&node.config, &text)?;
        }
        let servers = self
            .nodes
            .iter()
            .map(|node| format!("http://{}", node.client));
        let servers = toml::Value::from(servers.collect::<Vec<_>>());
        let text = format!(
            "# Written at each start of `highwater dev`.\n\
             listen = \"{}\"\nnodes = {servers}\ncluster_secret_file = \"cluster.secret\"\n\
             shutdown_timeout_ms = 3000\n\
             [admin]\nkey_hash = \"{}\"\n[console]\nnodes = {servers}\n[log]\nformat = \"text\"\nlevel = {}\n",
            self.control_plane.address,
            OperatorKeyHash::of(&self.identity.operator_key),
            toml::Value::from(args.log.as_str()),
        );
        write_private(&self.control_plane.config, &text)
    }
}

impl Identity {
    fn generate(args: &Args) -> Identity {
        let cluster_secret = format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let hasher = KeyHasher::new(cluster_secret.as_bytes());
        let (key, _) = hasher.make_key(KeyId::generate(), &rand::random());
        Identity {
            nodes: args.nodes,
            shards: args.shards,
            cluster_secret,
            tenant: TenantId::generate().to_string(),
            project: ProjectId::generate().to_string(),
            key,
            operator_key: OperatorKeyHash::make_key(&rand::random()).0,
        }
    }
}

/// What the folder was made with, or makes it.
fn identity(folder: &Path, args: &Args) -> anyhow::Result<Identity> {
    let path = folder.join("dev.toml");
    let identity = match fs::read_to_string(&path) {
        Ok(text) => {
            toml::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let identity = Identity::generate(args);
            write_private(&path, &toml::to_string(&identity)?)?;
            identity
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    if identity.nodes != args.nodes {
        return Err(Exit::usage(format!(
            "{} holds a cluster of {}; use --nodes {} or another --data-dir",
            folder.display(),
            super::banner::nodes(identity.nodes),
            identity.nodes
        ))
        .into());
    }
    if identity.shards != args.shards {
        eprintln!("the folder has {} shards, which stays so", identity.shards);
    }
    Ok(identity)
}

fn lock(folder: &Path) -> anyhow::Result<fs::File> {
    let path = folder.join("lock");
    let file =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Exit::usage(format!(
            "{} is in use by another `highwater dev`",
            folder.display()
        ))
        .into()),
        Err(fs::TryLockError::Error(e)) => Err(e).context("cannot lock the folder"),
    }
}

/// Of one node: for clients, and for the other nodes.
type NodeAddresses = (SocketAddr, SocketAddr);

/// Addresses of each node and of the control plane: the ports after the first one, the peers' after the
/// clients', or free ones for 0.
fn addresses(nodes: u32, port: u16) -> anyhow::Result<(Vec<NodeAddresses>, SocketAddr)> {
    let nodes = nodes as u16;
    let wanted = |n: u16| -> anyhow::Result<u16> {
        match port {
            0 => Ok(0),
            _ => Ok(port.checked_add(n).ok_or(Exit::usage("--port: too high"))?),
        }
    };
    // All are held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    for n in 0..=2 * nodes {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted(n)?));
        let listener = TcpListener::bind(address).map_err(|e| {
            Exit::usage(format!(
                "cannot use {address}: {e}; choose another --port, or 0"
            ))
        })?;
        held.push(listener);
    }
    let address = |n: u16| held[usize::from(n)].local_addr();
    let of_nodes = (0..nodes).map(|n| Ok((address(n)?, address(nodes + n)?)));
    let of_nodes = of_nodes.collect::<anyhow::Result<_>>()?;
    Ok((of_nodes, address(2 * nodes)?))
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: u32) -> Args {
        Args {
            nodes,
            shards: 4,
            port: 0,
            data_dir: None,
            ephemeral: false,
            restart: false,
            log: "info".into(),
        }
    }

    #[test]
    fn a_folder_keeps_its_key_and_its_configurations_are_valid() {
        let folder = tempfile::tempdir().unwrap();
        let first = Layout::prepare(folder.path(), &args(3)).unwrap();
        let identity = first.identity.clone();
        for node in &first.nodes {
            let config = highwater_node::Config::read(&node.config, std::iter::empty()).unwrap();
            assert_eq!(config.peers.len(), 3);
            let hasher = KeyHasher::new(config.secret_bytes());
            highwater_control_plane::Config::read(&first.control_plane.config, std::iter::empty())
                .unwrap();
            assert!(hasher.read_key(&identity.key).is_some());
        }
        assert!(
            Layout::prepare(folder.path(), &args(3)).is_err(),
            "it is in use"
        );
        drop(first);
        let second = Layout::prepare(folder.path(), &args(3)).unwrap();
        assert_eq!(second.identity, identity);
        drop(second);
        let error = Layout::prepare(folder.path(), &args(1)).unwrap_err();
        assert!(error.to_string().contains("--nodes 3"), "{error}");
    }
}
