//! Tokens: short-lived credentials for the end users of a project, minted by those who administer it or with one of
//! its API keys.
//!
//! A token is not kept. It says itself what it allows and until when, and is checked by every node with the
//! service's public keys; what was minted with a key ends with the key.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
