//! `GET /v1/sse`: what an event stream says, line by line.

mod events;
mod stream;
