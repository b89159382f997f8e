//! The port itself: limits, hostile clients, TLS and the end.

mod hostile;
mod shutdown;
mod tls;
