//! A way to a node that can be cut, and led to another node, while its address stays.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections to a node.
pub struct Forwarder {
    address: String,
    target: Arc<Mutex<String>>,
    /// Connections of an earlier number are cut.
    cuts: watch::Sender<u64>,
}

impl Forwarder {
    /// Forwards to this node, to begin with.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub async fn to(target: &str) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let target = Arc::new(Mutex::new(target.to_owned()));
        let (cuts, cut) = watch::channel(0);
        tokio::spawn(forward(listener, target.clone(), cut));
        Forwarder {
            address,
            target,
            cuts,
        }
    }

    /// Where to connect.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Cuts all connections. New ones lead to this node.
    pub fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.target.lock().expect("nobody panics"));
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn forward(listener: TcpListener, target: Arc<Mutex<String>>, cut: watch::Receiver<u64>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut cut = cut.clone();
        cut.mark_unchanged();
        let target = target.lock().expect("nobody panics").clone();
        tokio::spawn(async move {
            let Ok(mut node) = TcpStream::connect(target).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut node) => {}
                _ = cut.changed() => {}
            }
        });
    }
}
