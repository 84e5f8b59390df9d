//! Ports that stay those of one process.
//!
//! A port that the kernel chose and that was closed again may be given to anybody before the server
//! that it is for listens there, which takes some of them seconds. Two tests with the same one then
//! find the same server ready, and do their work in each other's tables.

use anyhow::Context as _;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as Name, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below those that the kernel gives by itself (`ip_local_port_range` in ip(7), 32768 and more).
const PORTS: Range<u16> = 20_000..32_000;

/// What this process has reserved: a name each in the abstract namespace of unix(7), which goes
/// with the process and is, as the port is, one of the network's namespace.
static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// An address on loopback that nobody listens on, for as long as this process lives: others that
/// ask here do not get it, and neither does who lets the kernel choose.
///
/// # Errors
///
/// All are taken.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let ports = PORTS.len();
    // Processes begin at places of their own, so that few meet.
    let first = usize::try_from(std::process::id())? * 97 % ports;
    let mut candidates = PORTS.cycle().skip(first).take(ports);
    let address = candidates.find_map(|port| reserve(port).transpose());
    address.context("no port of loopback is free")?
}

/// The address with this port, unless it is taken.
fn reserve(port: u16) -> anyhow::Result<Option<SocketAddr>> {
    let name = Name::from_abstract_name(format!("marketprism-port-{port}"))?;
    let Some(reserved) = unless_taken(UnixListener::bind_addr(&name))? else { return Ok(None) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if unless_taken(TcpListener::bind(address))?.is_none() {
        return Ok(None);
    }
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
    Ok(Some(address))
}

fn unless_taken<T>(bound: std::io::Result<T>) -> anyhow::Result<Option<T>> {
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error).context("look for a free port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice_nor_one_that_somebody_listens_on() {
        let given: BTreeSet<_> = (0..50).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.len(), 50);
        for address in &given {
            assert_eq!(reserve(address.port()).unwrap(), None);
            drop(TcpListener::bind(address).unwrap());
        }
        let busy =
            PORTS.rev().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
        assert_eq!(reserve(busy.local_addr().unwrap().port()).unwrap(), None);
    }
}
