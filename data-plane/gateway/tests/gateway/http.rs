//! HTTP under `/v1`.

mod page;
mod publish;
mod refusals;
mod topics;
