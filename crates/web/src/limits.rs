//! How much a client may take.

use std::time::Duration;

/// How much one client, and all of them together, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections open at a time from one address; more are closed. Loopback is not limited.
    pub connections_per_peer_max: usize,
    /// Longest time from the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// Longest silence of a new connection.
    pub first_byte_timeout: Duration,
    /// Longest rest of a connection between two requests.
    pub idle_timeout: Duration,
    /// Longest wait for the next part of a request's body, or for a client to take more of an
    /// answer.
    pub stall_timeout: Duration,
    /// Longest time given to requests under way when the server stops.
    pub drain: Duration,
    /// Largest body of a request, in bytes.
    pub body_max: usize,
    /// Largest request line and headers together, in bytes; at least 8 KiB.
    pub header_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_peer_max: 256,
            header_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(5),
            body_max: 1 << 20,
            header_bytes_max: 32 << 10,
        }
    }
}
