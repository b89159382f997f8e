//! The cluster, for operators: its nodes and its shards.

mod routes;
mod shape;

pub use routes::{routes, shards};
