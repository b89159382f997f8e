//! The links of a node, by peer.

use std::{collections::BTreeMap, sync::Arc};

use crate::link::Link;

/// One link for each other node of the cluster.
pub struct Links {
    links: BTreeMap<u64, Arc<Link>>,
}

impl Links {
    /// From the links.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Links {
        let by_peer = links
            .into_iter()
            .map(|link| (link.peer().0, Arc::new(link)));
        Links {
            links: by_peer.collect(),
        }
    }

    /// The link to a node.
    pub fn get(&self, node: u64) -> Option<Arc<Link>> {
        self.links.get(&node).cloned()
    }

    /// Whether there is a connection to a node.
    pub fn is_up(&self, node: u64) -> bool {
        self.links.get(&node).is_some_and(|link| link.is_up())
    }

    /// All links, in order of the peers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values()
    }
}
