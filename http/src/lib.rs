//! One HTTP/1.1 request to one server outside of the fleet, and its answer, piece by piece.
//!
//! It connects, speaks TLS where the address says so ([`OutsideTls`] decides who is believed), bounds the answer's head, and hands on what
//! comes. It follows no redirect, asks no proxy, keeps no connection, tries nothing again and logs nothing. How long an answer may take, how
//! much of it is read and what it means are for whoever asks: an [`Answer`] that is dropped, or a future that is, ends its connection.

mod answer;
mod idle;

pub use answer::{Answer, Fault, send};
pub use http_body_util::Full;
pub use hyper::body::{Body, Bytes, Frame, SizeHint};
pub use hyper::{HeaderMap, Method, Request, header};
pub use roadstead_pki::OutsideTls;

/// A request whose body is in memory, empty where there is none.
pub type Outgoing = Request<Full<Bytes>>;
