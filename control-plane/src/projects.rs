//! Projects: isolated namespaces of topics, keys and connections inside a tenant.

mod routes;
mod rules;
mod shape;

pub use routes::routes;
#[cfg(test)]
pub use rules::create;
pub use rules::{changeable, delete, find};
