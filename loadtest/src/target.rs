//! Where the server is, and over which of its addresses connections are spread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::{Failure, machine};

/// `http://host:port`, and a path where one belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port, as in the header `Host`.
    pub authority: String,
    /// From the slash on, query included; empty where the URL has none.
    pub path: String,
    /// The first address of the host.
    pub address: SocketAddr,
}

impl FromStr for Url {
    type Err = Failure;

    fn from_str(url: &str) -> Result<Self, Failure> {
        let rest = match url.split_once("://") {
            Some(("http" | "redis", rest)) => rest,
            Some(("https" | "rediss", _)) => return Err(format!("{url}: TLS is not spoken here").into()),
            Some((scheme, _)) => return Err(format!("{url}: there is no scheme {scheme}").into()),
            None => url,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(format!("{url} has no host:port").into());
        }
        let address = authority.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?.next();
        let address = address.ok_or_else(|| format!("{authority} has no address"))?;
        Ok(Self { authority: authority.to_owned(), path: path.to_owned(), address })
    }
}

/// The addresses that `connections` to `first` are spread over: as many of 127.0.0.0/8 as the local ports ask for, and
/// one only for a server elsewhere. `wanted` overrules the count.
pub fn destinations(first: SocketAddr, connections: u32, wanted: Option<u32>) -> Vec<SocketAddr> {
    let IpAddr::V4(ip) = first.ip() else { return vec![first] };
    // A local port is found quickly while at most half of them are taken: the kernel tries those of one parity first.
    let comfortable = (machine::local_port_count() * 2 / 5).max(1);
    let count = match wanted {
        Some(count) => count,
        None if ip.is_loopback() => connections.div_ceil(comfortable),
        None => 1,
    };
    // 250 addresses per 256: neither .0 nor .255 is among them.
    let nth = |index: u32| Ipv4Addr::from(u32::from(ip) + index / 250 * 256 + index % 250);
    (0..count.max(1)).map(|index| SocketAddr::from((nth(index), first.port()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_and_a_path() {
        let url: Url = "http://127.0.0.1:8080/events?x=1".parse().expect("a good URL");
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:8080", "/events?x=1"));
        assert_eq!(url.address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        for good in ["127.0.0.1:1", "redis://127.0.0.1:1", "http://127.0.0.1:1"] {
            assert_eq!(good.parse::<Url>().expect(good).path, "");
        }
        for bad in ["https://a:1/", "ftp://a:1", "http:///events", "http://a/events", "http://:80/", ""] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn destinations_follow_each_other_and_skip_the_ends_of_a_network() {
        let all = destinations(SocketAddr::from(([127, 0, 0, 1], 8080)), 1, Some(252));
        let written = |index: usize| all[index].to_string();
        assert_eq!(
            [0, 1, 249, 250, 251].map(written),
            ["127.0.0.1:8080", "127.0.0.2:8080", "127.0.0.250:8080", "127.0.1.1:8080", "127.0.1.2:8080",]
        );
    }

    #[test]
    fn a_server_elsewhere_has_one_address() {
        let count = |ip: [u8; 4]| destinations(SocketAddr::from((ip, 80)), 1_000_000, None).len();
        assert_eq!(count([10, 0, 0, 1]), 1);
        assert!(count([127, 0, 0, 1]) > 30);
    }
}
