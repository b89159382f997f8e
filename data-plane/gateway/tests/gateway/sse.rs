//! `GET /v1/sse`: what an event stream says, line by line.

pub mod events;
mod stream;

pub use events::Events;
