//! The contract of Highwater: what travels on a wire, and the words every crate uses for it.
//!
//! Nothing here does anything. The crate holds the generated protobuf messages ([`client`],
//! [`cluster`], [`control`]), identifiers ([`ids`]), names ([`names`]) and origins ([`origin`]) that are valid once constructed, the
//! closed list of error codes ([`error::ErrorCode`]) with each protocol's rendering of it, and
//! every maximum of the system ([`limits`]).
//!
//! Reading order: `limits.rs`, `ids.rs`, `names.rs`, `error.rs`, `close.rs`, then the `.proto` files.

pub mod close;
pub mod codec;
pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod names;
pub mod origin;
pub mod trace;

pub use error::ErrorCode;

/// The public gRPC API, version 1: messages and the client stub.
#[allow(missing_docs, clippy::all)]
pub mod client {
    tonic::include_proto!("highwater.client.v1");

    /// The compiled descriptors, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/client_v1.bin"));

    /// The server stub. Deliveries leave it as [`crate::frame::Frame`]s, encoded once for all readers.
    pub mod server {
        include!(concat!(env!("OUT_DIR"), "/server/highwater.client.v1.rs"));
    }
}

/// What nodes replicate and say to each other.
#[allow(missing_docs, clippy::all)]
pub mod cluster {
    tonic::include_proto!("highwater.cluster.v1");
}

/// The catalogue: what the control plane sets up, and how it reads and writes it.
#[allow(missing_docs, clippy::all)]
pub mod control {
    tonic::include_proto!("highwater.control.v1");
}
