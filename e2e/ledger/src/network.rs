//! Networks: each media node has one of its own, with an address on a bridge that the ledger shares.

use std::net::Ipv4Addr;

use anyhow::Result;
use e2e::process;
use tokio::process::Command;

use super::delay::{DelayedPackets, PacketDelay, QUEUE};

/// The ledger's own address, where encoders, viewers and the name server are.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Creates the bridge. Without an address of its own it takes the lowest one of its ports, which come and go: the media nodes would
/// lose the ledger until they look for it again.
pub(crate) async fn create_bridge() -> Result<()> {
    for line in [
        "ip link add ledger address 02:00:00:00:00:01 type bridge",
        &format!("ip addr add {OWN}/16 dev ledger"),
        "ip link set ledger up",
    ] {
        process::run(line).await?;
    }
    Ok(())
}

/// A network with one address. [`NodeNetwork::remove`] removes it.
#[derive(Clone, Debug)]
pub(crate) struct NodeNetwork {
    name: String,
    pub(crate) address: Ipv4Addr,
}

impl NodeNetwork {
    /// Creates the network of this number, which no other one has had.
    pub(crate) async fn create(number: u16) -> Result<Self> {
        let [high, low] = number.to_be_bytes();
        let network = Self {
            name: format!("n{number}"),
            address: Ipv4Addr::new(10, 77, 1 + high, low),
        };
        let Self { name, address } = &network;
        for line in [
            format!("ip netns add {name}"),
            format!("ip link add v{name} type veth peer name eth0 netns {name}"),
            format!("ip link set v{name} master ledger up"),
            format!("ip -n {name} addr add {address}/16 dev eth0"),
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

    /// Returns a command that runs a program in this network.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Drops every packet, or those from and to one address.
    pub(crate) async fn cut(&self, peer: Option<Ipv4Addr>) -> Result<()> {
        let (from, to) = match peer {
            Some(peer) => (format!("-s {peer}"), format!("-d {peer}")),
            None => ("-i eth0".to_owned(), "-o eth0".to_owned()),
        };
        self.filter(&format!("-A INPUT {from} -j DROP")).await?;
        self.filter(&format!("-A OUTPUT {to} -j DROP")).await
    }

    /// Drops what arrives from one address.
    pub(crate) async fn cut_from(&self, peer: Ipv4Addr) -> Result<()> {
        self.filter(&format!("-A INPUT -s {peer} -j DROP")).await
    }

    /// Drops a share of all packets that arrive.
    pub(crate) async fn lose(&self, share: f64) -> Result<()> {
        let rule =
            format!("-A INPUT -i eth0 -m statistic --mode random --probability {share} -j DROP");
        self.filter(&rule).await
    }

    /// Drops what is sent to a peer in packets of more than 1300 bytes, as a path with a tunnel does where ICMP is filtered.
    pub(crate) async fn lose_large(&self, peer: Ipv4Addr) -> Result<()> {
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
        self.filter(&format!("-A INPUT ! -s {OWN} -i eth0 -j {QUEUE}"))
            .await?;
        Ok(delayed)
    }

    /// Stops dropping and delaying packets.
    pub(crate) async fn mend(&self) -> Result<()> {
        self.filter("-F").await
    }

    async fn filter(&self, rule: &str) -> Result<()> {
        let line = format!("ip netns exec {} iptables -w {rule}", self.name);
        process::run(&line).await.map(drop)
    }
}
