//! Ports for nodes: free now, and outside the range from which the system takes ports for connections.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 10_000;
/// Linux takes ports of outgoing connections from 32,768 on, so a node finds its own free again
/// after a restart.
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port nobody listens on, different with each call.
pub fn take() -> u16 {
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Programs that test at the same time begin at different places.
        let start = std::process::id().wrapping_mul(97);
        let port = (FIRST + start.wrapping_add(number) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
