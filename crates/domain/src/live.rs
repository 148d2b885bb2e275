//! What is open now and outlives its first answer.

use serde::{Deserialize, Serialize};

/// What flows in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// A WebSocket.
    WebSocket,
    /// Another protocol that a connection changed to.
    Tunnel,
    /// An event stream: an answer of the type `text/event-stream`.
    Events,
    /// An answer's body.
    Download,
    /// A request's body.
    Upload,
}

impl StreamKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::WebSocket, Self::Tunnel, Self::Events, Self::Download, Self::Upload];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Tunnel => "tunnel",
            Self::Events => "events",
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }

    /// Whether it is a stream from its first byte on, and not only once it has gone on for a while.
    pub const fn is_endless(self) -> bool {
        matches!(self, Self::WebSocket | Self::Tunnel | Self::Events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_the_same_everywhere() {
        for kind in StreamKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
