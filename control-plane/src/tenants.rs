//! Tenants: customers, each with its projects, members and quotas.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
#[cfg(test)]
pub use rules::create;
pub use rules::{changeable, find};
