//! Networks of addresses: those that the configuration lists, and the one that counts as one client.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// A list of networks.
#[derive(Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

/// A list with an entry that is neither a network nor an address.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {entry} is not a network such as 10.0.0.0/8")]
pub(crate) struct InvalidNetworks {
    /// The field of the list.
    pub(crate) field: &'static str,
    pub(crate) entry: String,
}

impl Networks {
    /// Parses the networks of a field. A single address is a network of one.
    pub(crate) fn parse(field: &'static str, texts: &[String]) -> Result<Self, InvalidNetworks> {
        let parse = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse()
                .or_else(|_| address())
                .map_err(|_| InvalidNetworks {
                    field,
                    entry: text.clone(),
                })
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether one of the networks has this address. An IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Returns the network that counts as one client: an IPv4 address itself, and the /64 of an IPv6 address.
pub(crate) fn client_network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}
