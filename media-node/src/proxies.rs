//! Load balancers and reverse proxies before the public ports: which of them are trusted to say whose connection or request they
//! forward.

use std::net::IpAddr;

use media_config::{ForwardedHeader, ProxySettings};

use crate::networks::{InvalidNetworks, Networks};

/// The trusted load balancers and reverse proxies.
#[derive(Debug)]
pub(crate) struct Proxies {
    balancers: Networks,
    reverse_proxies: Networks,
    /// Header that the reverse proxies set.
    pub(crate) header: ForwardedHeader,
}

/// Reason that the settings are invalid.
#[derive(Debug, thiserror::Error)]
#[error("proxies.{0}")]
pub(crate) struct ProxiesError(#[from] InvalidNetworks);

impl Proxies {
    /// Parses the networks.
    ///
    /// # Errors
    /// When an entry is not a network; the message names the field.
    pub(crate) fn new(settings: &ProxySettings) -> Result<Self, ProxiesError> {
        Ok(Self {
            balancers: Networks::parse("proxyProtocolCidrs", &settings.proxy_protocol_cidrs)?,
            reverse_proxies: Networks::parse("forwardedCidrs", &settings.forwarded_cidrs)?,
            header: settings.forwarded_header,
        })
    }

    /// Returns whether connections of this peer begin with a PROXY header.
    pub(crate) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.contains(peer)
    }

    /// Returns whether this peer is trusted to name the clients of its requests.
    pub(crate) fn is_reverse_proxy(&self, peer: IpAddr) -> bool {
        self.reverse_proxies.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_that_is_no_network_is_named_with_its_field() {
        let error = |balancer: &str, proxy: &str| {
            let settings = ProxySettings {
                proxy_protocol_cidrs: vec![balancer.to_owned()],
                forwarded_cidrs: vec![proxy.to_owned()],
                ..ProxySettings::default()
            };
            Proxies::new(&settings).err().map(|error| error.to_string())
        };
        let expected = "proxies.proxyProtocolCidrs: lb is not a network such as 10.0.0.0/8";
        assert_eq!(error("lb", "::/0").as_deref(), Some(expected));
        let expected = "proxies.forwardedCidrs: 10.0.0.0/33 is not a network such as 10.0.0.0/8";
        assert_eq!(error("::1", "10.0.0.0/33").as_deref(), Some(expected));
        assert_eq!(error("::1", "10.0.0.0/32"), None);
    }
}
