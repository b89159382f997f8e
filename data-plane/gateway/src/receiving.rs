//! The memory of requests that are on their way in: so much for a connection, so much for the node.
//!
//! A client that announces a large request and sends it slowly, or never, has the memory for it set
//! aside. Many such requests are refused, and not held back: what was held back would fill the windows of
//! HTTP/2, and the connection would stand still, with those requests on it that have their room already.

use std::sync::Arc;

use highwater_broker::{Refusal, Result};
use highwater_proto::{
    ErrorCode,
    limits::{CONNECTION_RECEIVING_BYTES_MAX, RECEIVING_BYTES_MAX, RECEIVING_FREE_BYTES},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room that all connections of a node share.
#[derive(Debug, Clone)]
pub struct NodeRoom(Arc<Semaphore>);

impl Default for NodeRoom {
    fn default() -> NodeRoom {
        NodeRoom(Arc::new(Semaphore::new(RECEIVING_BYTES_MAX)))
    }
}

impl NodeRoom {
    /// The room of a new connection.
    pub fn connection(&self) -> ConnectionRoom {
        ConnectionRoom {
            node: self.0.clone(),
            own: Arc::new(Semaphore::new(CONNECTION_RECEIVING_BYTES_MAX)),
        }
    }
}

/// The room of one connection, which is a part of the node's.
#[derive(Debug, Clone)]
pub struct ConnectionRoom {
    node: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl ConnectionRoom {
    /// Room for one request: as much as every request has, at first.
    pub fn request(&self) -> RequestRoom {
        RequestRoom {
            of: self.clone(),
            bytes: 0,
            taken: None,
        }
    }
}

/// The room of one request, given back when it is dropped.
#[derive(Debug)]
pub struct RequestRoom {
    of: ConnectionRoom,
    bytes: usize,
    taken: Option<[OwnedSemaphorePermit; 2]>,
}

impl RequestRoom {
    /// Grows to at least this many bytes.
    ///
    /// # Errors
    /// `overloaded` when the connection or the node has not so much left.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes.max(RECEIVING_FREE_BYTES) {
            return Ok(());
        }
        let more = u32::try_from(bytes - self.bytes).map_err(|_| overloaded())?;
        let take = |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(more);
        let more = [
            take(&self.of.own).map_err(|_| overloaded())?,
            take(&self.of.node).map_err(|_| overloaded())?,
        ];
        match &mut self.taken {
            None => self.taken = Some(more),
            Some(taken) => {
                for (taken, more) in taken.iter_mut().zip(more) {
                    taken.merge(more);
                }
            }
        }
        self.bytes = bytes;
        Ok(())
    }
}

fn overloaded() -> Refusal {
    let message = "too many bytes of unfinished requests";
    Refusal::new(ErrorCode::Overloaded, message).retry_after_ms(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_connection_has_so_much_room_and_gets_it_back() {
        let connection = NodeRoom::default().connection();
        let mut requests = Vec::new();
        for _ in 0..CONNECTION_RECEIVING_BYTES_MAX / (4 * MIB) {
            let mut request = connection.request();
            // What was taken before is not taken twice.
            for bytes in [MIB, 3 * MIB, 2 * MIB, 4 * MIB] {
                request.grow(bytes).unwrap();
            }
            requests.push(request);
        }
        let mut more = connection.request();
        assert_eq!(more.grow(MIB).unwrap_err().code(), ErrorCode::Overloaded);
        more.grow(RECEIVING_FREE_BYTES).unwrap();
        requests.pop();
        more.grow(4 * MIB).unwrap();
    }

    #[test]
    fn connections_share_the_room_of_the_node() {
        let node = NodeRoom::default();
        let full = |connection: ConnectionRoom| {
            let mut request = connection.request();
            request
                .grow(CONNECTION_RECEIVING_BYTES_MAX)
                .map(|()| request)
        };
        let connections = RECEIVING_BYTES_MAX / CONNECTION_RECEIVING_BYTES_MAX;
        let mut held: Vec<_> = (0..connections)
            .map(|_| full(node.connection()).unwrap())
            .collect();
        let other = node.connection();
        assert!(full(other.clone()).is_err());
        held.pop();
        assert!(full(other).is_ok());
    }
}
