//! Networks of addresses, as the configuration lists them.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list of networks.
#[derive(Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

/// An entry that is neither a network nor an address.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a network such as 10.0.0.0/8")]
pub(crate) struct NotANetwork(pub(crate) String);

impl Networks {
    /// Parses networks. A single address is a network of one.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, NotANetwork> {
        let parse = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse()
                .or_else(|_| address())
                .map_err(|_| NotANetwork(text.clone()))
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
