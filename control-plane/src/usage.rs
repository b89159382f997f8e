//! Usage: what projects have used, by the hour or by the day, for bills and charts.
//!
//! Nodes count it and know it by project and hour; here it is put together. Hours are those of UTC.

mod csv;
mod routes;
mod shape;
mod sum;

pub use routes::{key_uses, routes};
