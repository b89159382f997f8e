//! The secrets of the service: how they are made, kept, sealed and checked, for those who hand them out and
//! those who are shown them.
//!
//! Everything is made of one secret that the nodes and the control planes of a cluster share. Each use
//! derives a key of its own from it (BLAKE3, key derivation mode), so none can stand for another.
//!
//! Invariants: nothing here reads a clock or draws a random number (both are arguments), and nothing prints a
//! secret. Secrets are compared in constant time.
//!
//! Reading order: `key.rs`, `seal.rs`, `service.rs`, `operator.rs`, `jwks.rs`, `token.rs`.

pub mod jwks;
pub mod key;
pub mod operator;
pub mod seal;
pub mod service;
pub mod token;

pub use jwks::KeySet;
pub use key::{KEY_PREFIX, KeyHasher, SecretHash};
pub use operator::{OPERATOR_PREFIX, OperatorKeyHash};
pub use seal::Sealer;
pub use service::ServiceCredential;
pub use token::{Claims, Expected, TokenError};
