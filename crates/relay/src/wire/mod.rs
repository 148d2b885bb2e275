//! The wire: sockets, the codec on both sides of the gate, and what moves bytes between them.

pub(crate) mod buffer;
pub(crate) mod dial;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod hygiene;
pub(crate) mod patience;
pub(crate) mod pipe;
pub(crate) mod pump;
pub(crate) mod socket;
pub(crate) mod splice;
pub(crate) mod tls;
pub(crate) mod websocket;
