//! The paths between the hosts of a cluster.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::SimulatedCluster;
use crate::explorer::schedule::Place;
use crate::explorer::socket::CLIENTS;

impl SimulatedCluster {
    pub(in super::super) fn cut(&self, one: Place, other: Place, is_cut: bool) {
        let (one, other) = (self.address(one), self.address(other));
        if one != other {
            self.network.cut(one, other, is_cut);
        }
    }

    pub(in super::super) fn cut_one_way(&self, from: Place, to: Place) {
        let (from, to) = (self.address(from), self.address(to));
        if from != to {
            self.network.cut_one_way(from, to);
        }
    }

    pub(in super::super) fn forget_connections(&self, one: Place, other: Place) {
        let (one, other) = (self.address(one), self.address(other));
        self.network.forget_connections(one, other);
    }

    pub(in super::super) fn delay(&self, one: Place, other: Place, delay: Duration) {
        let (one, other) = (self.address(one), self.address(other));
        self.network.delay(one, other, delay);
    }

    /// Lets so many bytes pass in a second in each direction, or as many as hosts send.
    pub(in super::super) fn narrow(&self, one: Place, other: Place, rate: Option<u32>) {
        let (one, other) = (self.address(one), self.address(other));
        for (from, to) in [(one, other), (other, one)] {
            self.network.narrow(from, to, rate);
        }
    }

    fn address(&self, place: Place) -> Ipv4Addr {
        match place {
            Place::Node(node) => self.nodes[node].address,
            Place::Clients => CLIENTS,
        }
    }
}
