//! Addresses to listen on.

use std::net::SocketAddr;

use serde::{Deserialize as _, Deserializer, de};

/// Reads an IP address with a port.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let example = "`127.0.0.1:8080` or `[::1]:8080`";
        de::Error::custom(format_args!(
            "`{text}` is not an IP address with a port, such as {example}"
        ))
    })
}
