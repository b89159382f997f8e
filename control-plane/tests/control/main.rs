//! A control plane over real HTTP and real gRPC, with a cluster's catalogue in memory.

mod catalogue;
mod console;
mod credentials;
mod fake;
mod fuzzing;
mod idempotency;
mod isolation;
mod issuers;
mod lists;
mod openapi;
mod paths;
mod resources;
mod service;
mod stage;
mod sweeping;
mod tokens;
mod usage;
