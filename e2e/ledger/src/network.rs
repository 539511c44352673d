//! Networks: each media node has one of its own, with an address on a bridge that the ledger shares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use e2e::process;
use tokio::process::Command;

use super::LOWER_PRIORITY;
use super::delay::{DelayedPackets, PacketDelay, QUEUE};

/// The version of IP of a network. It has no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    /// The ledger's own address, where encoders, viewers and the name server are.
    pub(crate) const fn own(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    /// Returns the address of the network of a number.
    fn address(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, 1 + high, low)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, number)),
        }
    }

    /// The length of the networks' prefix. No address is checked for duplicates first, which would take a second.
    const fn prefix(self) -> &'static str {
        match self {
            Self::V4 => "16",
            Self::V6 => "64 nodad",
        }
    }
}

/// Creates the bridge. Without an address of its own it takes the lowest one of its ports, which come and go: the media nodes would
/// lose the ledger until they look for it again.
pub(crate) async fn create_bridge() -> Result<()> {
    for line in [
        "ip link add ledger address 02:00:00:00:00:01 type bridge",
        &add_own(IpVersion::V4),
        &add_own(IpVersion::V6),
        "ip link set ledger up",
    ] {
        process::run(line).await?;
    }
    Ok(())
}

fn add_own(version: IpVersion) -> String {
    let (own, prefix) = (version.own(), version.prefix());
    format!("ip addr add dev ledger {own}/{prefix}")
}

/// A network with one address. [`NodeNetwork::remove`] removes it.
#[derive(Clone, Debug)]
pub(crate) struct NodeNetwork {
    name: String,
    pub(crate) address: IpAddr,
    version: IpVersion,
}

impl NodeNetwork {
    /// Creates the network of this number, which no other one has had.
    pub(crate) async fn create(number: u16, version: IpVersion) -> Result<Self> {
        let network = Self {
            name: format!("n{number}"),
            address: version.address(number),
            version,
        };
        let (prefix, Self { name, address, .. }) = (version.prefix(), &network);
        for line in [
            format!("ip netns add {name}"),
            format!("ip link add v{name} type veth peer name eth0 netns {name}"),
            format!("ip link set v{name} master ledger up"),
            format!("ip -n {name} addr add dev eth0 {address}/{prefix}"),
            format!("ip -n {name} link set eth0 up"),
            format!("ip -n {name} link set lo up"),
        ] {
            process::run(&line).await?;
        }
        Ok(network)
    }

    /// Removes the network, as the end of a Pod does.
    pub(crate) async fn remove(self) -> Result<()> {
        let name = &self.name;
        process::run(&format!("ip link del v{name}")).await?;
        process::run(&format!("ip netns del {name}"))
            .await
            .map(drop)
    }

    /// Returns the address of clients and of the name server.
    pub(crate) fn own(&self) -> IpAddr {
        self.version.own()
    }

    /// Returns a command that runs a program in this network, with a lower priority than the ledger.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.args(["nice", "-n", &LOWER_PRIORITY.to_string()]);
        if self.version == IpVersion::V6 {
            // `ip` has given it mounts of its own.
            let with_names =
                "mount --bind e2e/ledger/resolv-ipv6.conf /etc/resolv.conf && exec \"$@\"";
            command.args(["bash", "-c", with_names, "media-node"]);
        }
        command.arg(program);
        command
    }

    /// Drops every packet, or those from and to one address.
    pub(crate) async fn cut(&self, peer: Option<IpAddr>) -> Result<()> {
        let (from, to) = match peer {
            Some(peer) => (format!("-s {peer}"), format!("-d {peer}")),
            None => ("-i eth0".to_owned(), "-o eth0".to_owned()),
        };
        self.filter(&format!("-A INPUT {from} -j DROP")).await?;
        self.filter(&format!("-A OUTPUT {to} -j DROP")).await
    }

    /// Drops what arrives from one address.
    pub(crate) async fn cut_from(&self, peer: IpAddr) -> Result<()> {
        self.filter(&format!("-A INPUT -s {peer} -j DROP")).await
    }

    /// Drops a share of all packets that arrive.
    pub(crate) async fn lose(&self, share: f64) -> Result<()> {
        let rule =
            format!("-A INPUT -i eth0 -m statistic --mode random --probability {share} -j DROP");
        self.filter(&rule).await
    }

    /// Drops a share of the RTMP packets that arrive from clients.
    pub(crate) async fn lose_rtmp(&self, share: f64) -> Result<()> {
        let random = format!("statistic --mode random --probability {share}");
        let own = self.own();
        let rule = format!("-A INPUT -s {own} -p tcp --dport 1935 -m {random} -j DROP");
        self.filter(&rule).await
    }

    /// Lets a share of the packets from other media nodes reset their connections, as a firewall that forgets them does.
    pub(crate) async fn reset(&self, share: f64) -> Result<()> {
        let random = format!("statistic --mode random --probability {share}");
        let own = self.own();
        let rule =
            format!("-A INPUT ! -s {own} -p tcp -m {random} -j REJECT --reject-with tcp-reset");
        self.filter(&rule).await
    }

    /// Changes how large the packets of this network may be. Larger ones are lost.
    pub(crate) async fn limit_packets(&self, bytes: u16) -> Result<()> {
        let name = &self.name;
        for device in [
            format!("-n {name} link set eth0"),
            format!("link set v{name}"),
        ] {
            process::run(&format!("ip {device} mtu {bytes}")).await?;
        }
        Ok(())
    }

    /// Drops what is sent to a peer in packets of more than 1300 bytes, as a path with a tunnel does where ICMP is filtered.
    pub(crate) async fn lose_large(&self, peer: IpAddr) -> Result<()> {
        // The kernel would pass several segments on as one packet. Connections that exist still do.
        let name = &self.name;
        process::run(&format!("ip -n {name} link set eth0 gso_max_segs 1")).await?;
        let rule = format!("-A OUTPUT -d {peer} -m length --length 1301: -j DROP");
        self.filter(&rule).await
    }

    /// Limits what arrives, as a narrow path does whose router keeps packets for up to 0.4 s.
    pub(crate) async fn narrow(&self, kilobits: u32) -> Result<()> {
        let name = &self.name;
        let limit = format!("tbf rate {kilobits}kbit burst 4kb latency 400ms");
        process::run(&format!("tc qdisc replace dev v{name} root {limit}"))
            .await
            .map(drop)
    }

    /// Ends the limit.
    pub(crate) async fn widen(&self) -> Result<()> {
        let name = &self.name;
        process::run(&format!("tc qdisc del dev v{name} root"))
            .await
            .map(drop)
    }

    /// Delays what arrives from other media nodes, until [`NodeNetwork::mend`]. The result is dropped afterwards.
    pub(crate) async fn delay(&self, delay: PacketDelay) -> Result<DelayedPackets> {
        let delayed = DelayedPackets::start(&self.name, delay)?;
        let own = self.own();
        self.filter(&format!("-A INPUT ! -s {own} -i eth0 -j {QUEUE}"))
            .await?;
        Ok(delayed)
    }

    /// Stops dropping and delaying packets.
    pub(crate) async fn mend(&self) -> Result<()> {
        self.filter("-F").await
    }

    async fn filter(&self, rule: &str) -> Result<()> {
        let iptables = match self.version {
            IpVersion::V4 => "iptables",
            IpVersion::V6 => "ip6tables",
        };
        let line = format!("ip netns exec {} {iptables} -w {rule}", self.name);
        process::run(&line).await.map(drop)
    }
}
