//! Announcing over HTTP (BEP 3), as bytes: what is sent, and how the response is read.
//!
//! Not here: connections, TLS and time-outs (the driver), and what the body says
//! ([`reply`](super::reply)).

mod headers;
mod request;
mod response;

pub use request::{announce_target, request};
pub use response::{Progress, Response, ResponseError, ResponseReader};
