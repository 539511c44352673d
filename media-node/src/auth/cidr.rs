//! Networks whose clients are allowed or denied.

use std::net::IpAddr;

use media_config::CidrLists;

use crate::networks::{InvalidNetworks, Networks};

/// The two lists, parsed.
#[derive(Default)]
pub(super) struct Cidrs {
    allow: Networks,
    deny: Networks,
}

impl Cidrs {
    pub(super) fn new(lists: &CidrLists) -> Result<Self, InvalidNetworks> {
        Ok(Self {
            allow: Networks::parse("allowCidrs", &lists.allow_cidrs)?,
            deny: Networks::parse("denyCidrs", &lists.deny_cidrs)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    pub(super) fn allows(&self, peer: IpAddr) -> bool {
        !self.deny.contains(peer) && (self.allow.is_empty() || self.allow.contains(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(allow: &[&str], deny: &[&str]) -> Cidrs {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let lists = CidrLists {
            allow_cidrs: owned(allow),
            deny_cidrs: owned(deny),
        };
        Cidrs::new(&lists).unwrap_or_else(|error| panic!("{}", error.entry))
    }

    fn allows(cidrs: &Cidrs, peer: &str) -> bool {
        cidrs.allows(peer.parse().unwrap())
    }

    #[test]
    fn deny_list_wins_over_allow_list() {
        let cidrs = cidrs(&["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16"]);
        assert!(allows(&cidrs, "10.0.0.1") && allows(&cidrs, "2001:db8::1"));
        assert!(!allows(&cidrs, "10.1.0.1"));
        assert!(!allows(&cidrs, "192.0.2.1"));
    }

    #[test]
    fn ipv4_address_in_ipv6_form_is_judged_as_ipv4() {
        let cidrs = cidrs(&[], &["10.0.0.1"]);
        assert!(!allows(&cidrs, "::ffff:10.0.0.1"));
        assert!(allows(&cidrs, "10.0.0.2"));
    }

    #[test]
    fn entry_that_is_no_network_is_named() {
        let lists = CidrLists {
            deny_cidrs: vec!["10.0.0.0/33".to_owned()],
            ..CidrLists::default()
        };
        let error = Cidrs::new(&lists).err().unwrap();
        assert_eq!(error.field, "denyCidrs");
        assert_eq!(error.entry, "10.0.0.0/33");
    }
}
