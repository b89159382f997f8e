//! The audit log: who changed what, when and from where.

mod routes;
mod shape;

pub use routes::routes;
