//! A cluster of media nodes on simulated hosts, each with the production code from its ports down to its timers.

mod config;
mod memory;
mod paths;
mod remains;
mod replacement;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use media_config::Role;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::{NodeAddresses, Publications};
use super::host_runtime::HostRuntime;
use super::media::write_slate;
use super::schedule::Settings;
use super::socket::{CLIENTS, node_address};
use crate::host::simulated::SimulatedHost;
use crate::host::simulated::network::Network;
use crate::server::{Held, Node, Probe, Timings};
use memory::ShortMemory;
use replacement::ReplacedNode;

/// The name of the origins.
const SERVICE: &str = "origins.media.svc";

/// Longer than any schedule.
const NEVER: Duration = Duration::from_secs(1 << 20);

/// The shortest time between two times at which something happens.
const TICK: Duration = Duration::from_millis(5);

/// A cluster, and the host of its clients.
pub(super) struct SimulatedCluster {
    pub(super) network: Network,
    pub(super) addresses: NodeAddresses,
    pub(super) publications: Publications,
    pub(super) clients: HostRuntime,
    settings: Settings,
    seed: u64,
    nodes: Vec<SimulatedNode>,
    /// The folder of the slate.
    folder: TempDir,
    replaced: Vec<ReplacedNode>,
    /// Looks at the media nodes that have ended.
    ended: Vec<Probe>,
    /// Whether RTMP servers are elsewhere, if that is planted.
    pub(super) loses_servers: bool,
    /// Addresses that were given so far.
    given: u8,
    starts: u64,
}

struct SimulatedNode {
    role: Role,
    address: Ipv4Addr,
    process: Option<NodeProcess>,
}

/// A running media node.
struct NodeProcess {
    runtime: HostRuntime,
    drain: CancellationToken,
    stop: CancellationToken,
    probe: Probe,
    task: JoinHandle<()>,
    is_hung: bool,
    /// When it has hung last.
    hung_until: Duration,
    short_memory: Option<ShortMemory>,
}

impl SimulatedCluster {
    /// Returns a cluster whose media nodes are not started yet.
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let network = Network::new(seed, settings.latency, settings.time_to_live);
        network.start_host(CLIENTS);
        let clients = SimulatedHost::new(network.clone(), CLIENTS, Duration::ZERO, seed);
        let mut cluster = Self {
            clients: HostRuntime::new(clients, seed),
            network,
            addresses: NodeAddresses::default(),
            publications: Publications::default(),
            seed,
            nodes: Vec::new(),
            folder: tempfile::tempdir().expect("a folder for temporary files"),
            replaced: Vec::new(),
            ended: Vec::new(),
            loses_servers: false,
            given: 0,
            starts: 0,
            settings,
        };
        for number in 0..cluster.settings.nodes() {
            let role = if number < cluster.settings.origins {
                Role::Origin
            } else {
                Role::Edge
            };
            let address = cluster.next_address();
            cluster.addresses.set(number, address);
            cluster.nodes.push(SimulatedNode {
                role,
                address,
                process: None,
            });
        }
        cluster.publish_name();
        write_slate(&cluster.slate()).expect("room for a clip");
        cluster
    }

    fn slate(&self) -> PathBuf {
        self.folder.path().join("slate.flv")
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    fn next_address(&mut self) -> Ipv4Addr {
        self.given += 1;
        node_address(self.given)
    }

    fn origins(&self) -> impl Iterator<Item = Ipv4Addr> {
        let origins = self.nodes.iter().filter(|node| node.role == Role::Origin);
        origins.map(|node| node.address)
    }

    fn publish_name(&self) {
        let addresses = self.origins().map(IpAddr::from).collect();
        self.network.set_name(SERVICE, addresses);
    }

    /// Gives a media node that does not run another address.
    pub(super) fn move_node(&mut self, number: usize) {
        if self.nodes[number].process.is_none() {
            self.network.remove_host(self.nodes[number].address);
            self.change_address(number);
        }
    }

    fn change_address(&mut self, number: usize) {
        let address = self.next_address();
        self.nodes[number].address = address;
        self.addresses.set(number, address);
        self.publish_name();
    }

    /// Starts a media node, unless it runs.
    pub(super) fn start(&mut self, number: usize) {
        if self.nodes[number].process.is_some() {
            return;
        }
        let address = self.nodes[number].address;
        self.network.start_host(address);
        self.starts += 1;
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.starts);
        let share = u32::try_from(seed % 5).unwrap_or_default();
        let skew = self.settings.skew * share / 4;
        let host = SimulatedHost::new(self.network.clone(), address, skew, seed);
        let runtime = HostRuntime::new(host, seed);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let timings = Timings {
            // There are no keys, and the memory is that of this computer.
            key_poll: NEVER,
            memory_poll: NEVER,
            ..Timings::default()
        };
        let config = self.config(number);
        let (probe, task) = runtime.block_on(async {
            let node = Node::bind_with(config, timings).await;
            let node = node.expect("a valid configuration and free ports");
            let run = |node: Node| node.run(drain.clone(), stop.clone());
            (node.probe(), tokio::spawn(run(node)))
        });
        self.publications.set(address, probe.clone());
        self.nodes[number].process = Some(NodeProcess {
            runtime,
            drain,
            stop,
            probe,
            task,
            is_hung: false,
            hung_until: Duration::ZERO,
            short_memory: None,
        });
    }

    /// Ends the process of a media node without a drain.
    pub(super) fn kill(&mut self, number: usize) {
        if let Some(process) = self.nodes[number].process.take() {
            self.ended.push(process.probe);
        }
    }

    /// Takes the power from the host of a media node.
    pub(super) fn lose(&mut self, number: usize) {
        if self.nodes[number].process.is_some() {
            self.network.lose_host(self.nodes[number].address);
            self.kill(number);
        }
    }

    pub(super) fn drain(&mut self, number: usize) {
        if let Some(process) = &self.nodes[number].process {
            process.drain.cancel();
        }
    }

    /// Sets the clock of a media node's host.
    pub(super) fn set_clock(&self, number: usize, skew: Duration) {
        if let Some(process) = &self.nodes[number].process {
            process.runtime.host.set_skew(skew);
        }
    }

    /// Disconnects all clients of a media node.
    pub(super) fn revoke(&self, number: usize) {
        if let Some(process) = &self.nodes[number].process {
            process.runtime.block_on(async { process.probe.revoke() });
        }
    }

    pub(super) fn stop(&mut self, number: usize) {
        if let Some(process) = &self.nodes[number].process {
            process.stop.cancel();
        }
    }

    pub(super) fn hang(&mut self, number: usize, is_hung: bool) {
        if let Some(process) = &mut self.nodes[number].process
            && std::mem::replace(&mut process.is_hung, is_hung)
            && !is_hung
        {
            process.hung_until = self.network.now();
            process.runtime.skip_until(self.network.now());
        }
    }

    /// Lets the time pass until something happens, at most until `end`, and for no longer than `pause`. Media nodes to which nothing
    /// happens run then as well: their timers are late by `pause` at most.
    pub(super) fn step(&mut self, end: Duration, pause: Duration) {
        let before = self.network.now();
        let rest = before.as_nanos() % pause.as_nanos();
        let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or_default());
        let regular = before + pause - rest;
        let arrival = if self.network.has_woken() {
            Some(before)
        } else {
            self.network.next_arrival()
        };
        // Close to each other, things happen at one time.
        let arrival = arrival.map(|at| before + (at.saturating_sub(before)).max(TICK));
        let now = arrival.map_or(regular, |at| at.min(regular)).min(end);
        self.network.advance(now);
        let woken = self.network.take_woken();
        let is_due = |host: Ipv4Addr| now == regular || now == end || woken.contains(&host.into());
        for number in 0..self.nodes.len() {
            let Some(process) = &self.nodes[number].process else {
                continue;
            };
            if process.is_hung || !is_due(self.nodes[number].address) {
                continue;
            }
            process.runtime.run_until(now);
            if process.task.is_finished() {
                self.kill(number);
            }
        }
        self.run_replaced(now, is_due);
        if is_due(CLIENTS) {
            self.clients.run_until(now);
        }
    }

    /// Returns what each running media node holds.
    pub(super) fn held(&self) -> Vec<(usize, Held)> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter_map(|(number, node)| {
                let process = node.process.as_ref()?;
                Some((number, process.probe.held()?))
            })
            .collect()
    }

    /// Returns how many tasks each running media node has.
    pub(super) fn tasks(&self) -> Vec<(usize, usize)> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter_map(|(number, node)| Some((number, node.process.as_ref()?.runtime.tasks())))
            .collect()
    }

    /// Returns how many media nodes have ended and are still in memory.
    pub(super) fn leaked(&self) -> usize {
        let leaked = self.ended.iter().filter(|probe| probe.held().is_some());
        leaked.count()
    }
}
