//! Listening sockets: one per shard on the same port, among which the kernel spreads the connections.
//!
//! What is set here is inherited by every accepted socket: no delay, keepalive, and the end of peers that acknowledge
//! nothing. All are bound before any accepts, since the first would get every connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

/// Connections that wait to be accepted, per listener; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Silence after which a peer is asked whether it is there: half of what common NATs and balancers allow.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u32 = 4;

/// Opens `count` listeners on `port` (0: one that is free), on every address of IPv6 and IPv4. A peer that acknowledges
/// nothing for `unacknowledged_for` is dropped by the kernel. Returns them with the port.
pub fn open(port: u16, count: usize, unacknowledged_for: Duration) -> io::Result<(Vec<OwnedFd>, u16)> {
    refuse_company(port)?;
    let first = open_one(port, unacknowledged_for)?;
    let address = SocketAddr::try_from(getsockname(&first)?)
        .map_err(|_| io::Error::new(io::ErrorKind::AddrNotAvailable, "the listener has no port"))?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(open_one(address.port(), unacknowledged_for)?);
    }
    Ok((listeners, address.port()))
}

/// Fails when another process listens on `port`: it would share the connections with us, since both allow that.
fn refuse_company(port: u16) -> io::Result<()> {
    let (alone, address) = socket(port)?;
    sockopt::set_socket_reuseaddr(&alone, true)?;
    bind(&alone, &address)?;
    listen(&alone, 1)?;
    Ok(())
}

/// Refuses whoever comes from now on, though others still hold the listener. An accept that waits on it fails.
pub fn shut(listener: impl AsFd) {
    // Fails for what listens no more, and that is what was wanted.
    let _ = rustix::net::shutdown(listener, Shutdown::Read);
}

/// One listener that shares its port with others of this process.
fn open_one(port: u16, unacknowledged_for: Duration) -> io::Result<OwnedFd> {
    let (listener, address) = socket(port)?;
    prepare(listener.as_fd(), unacknowledged_for)?;
    bind(&listener, &address)?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// A socket for both families, or one for IPv4 where there is no IPv6, and the address to bind it to.
fn socket(port: u16) -> io::Result<(OwnedFd, SocketAddr)> {
    let dual = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    match dual {
        Ok(socket) => {
            sockopt::set_ipv6_v6only(&socket, false)?;
            Ok((socket, (Ipv6Addr::UNSPECIFIED, port).into()))
        }
        Err(_) => {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            Ok((socket, (Ipv4Addr::UNSPECIFIED, port).into()))
        }
    }
}

fn prepare(listener: impl AsFd, unacknowledged_for: Duration) -> io::Result<()> {
    let listener = listener.as_fd();
    sockopt::set_socket_reuseaddr(listener, true)?;
    sockopt::set_socket_reuseport(listener, true)?;
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(listener, KEEPALIVE_COUNT)?;
    let millis = u32::try_from(unacknowledged_for.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(listener, millis)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn listeners_share_one_port_on_both_families() {
        let (listeners, port) = open(0, 3, Duration::from_secs(1)).unwrap();
        assert_eq!(listeners.len(), 3);
        assert_ne!(port, 0);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        if TcpStream::connect(("::1", port)).is_err() {
            eprintln!("this machine has no IPv6");
        }
    }

    #[test]
    fn a_listener_that_was_shut_refuses() {
        let (listeners, port) = open(0, 2, Duration::from_secs(1)).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        listeners.iter().for_each(shut);
        let error = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_port_is_not_shared_with_another_server_of_the_same_kind() {
        let (_held, port) = open(0, 1, Duration::from_secs(1)).unwrap();
        let error = open(port, 1, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_that_somebody_else_holds_is_an_error() {
        let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = open(port, 1, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
