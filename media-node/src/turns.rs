//! Turns: a limited number at one time, which client addresses share.
//!
//! An address gets a turn while it has fewer than are free. One alone gets half of all, two get a third each, and something is left for
//! the next one. What an address asks for beyond that waits in order, and addresses are served in rotation. Their number can change
//! meanwhile.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::networks::client_network;

/// Turns that addresses share. Clones share them, too.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Table>>);

/// A turn of an address, until this is dropped.
pub(crate) struct Turn {
    turns: Turns,
    address: IpAddr,
}

struct Table {
    count: usize,
    taken: usize,
    /// The addresses that have turns or wait for one.
    addresses: HashMap<IpAddr, Address>,
    /// The addresses that wait, the next one first.
    rotation: VecDeque<IpAddr>,
}

#[derive(Default)]
struct Address {
    turns: usize,
    waiting: VecDeque<TurnSender>,
}

/// Where a client waits for one turn. It may wait at several addresses, and the first turn counts.
pub(crate) type TurnSender = mpsc::Sender<Turn>;

/// Returns where a client waits for a turn, and where it gets that.
pub(crate) fn one_turn() -> (TurnSender, mpsc::Receiver<Turn>) {
    mpsc::channel(1)
}

impl Turns {
    /// Returns so many turns.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            count,
            taken: 0,
            addresses: HashMap::new(),
            rotation: VecDeque::new(),
        })))
    }

    /// Changes the number of turns. Those that are taken stay.
    pub(crate) fn set_count(&self, count: usize) {
        let before = std::mem::replace(&mut self.0.lock().count, count);
        if count > before {
            self.serve();
        }
    }

    /// Waits for a turn of a client. The wait may be given up.
    pub(crate) async fn of(&self, peer: IpAddr) -> Option<Turn> {
        let (client, mut turn) = one_turn();
        self.send_to(peer, client);
        turn.recv().await
    }

    /// Sends a turn of `peer` to a client, unless it has got another one before.
    pub(crate) fn send_to(&self, peer: IpAddr, client: TurnSender) {
        self.0.lock().enqueue(client_network(peer), client);
        self.serve();
    }

    /// Takes a turn of a client, if it may have one now.
    pub(crate) fn try_of(&self, peer: IpAddr) -> Option<Turn> {
        let address = client_network(peer);
        let taken = self.0.lock().take(address);
        taken.then(|| self.turn(address))
    }

    fn serve(&self) {
        loop {
            // The lock is released before the turn is sent: a client that has left gives it back at once.
            let next = self.0.lock().next_client();
            let Some((address, client)) = next else { break };
            drop(client.try_send(self.turn(address)));
        }
    }

    fn turn(&self, address: IpAddr) -> Turn {
        Turn {
            turns: self.clone(),
            address,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().give_back(self.address);
        self.turns.serve();
    }
}

impl Table {
    fn free(&self) -> usize {
        self.count.saturating_sub(self.taken)
    }

    fn enqueue(&mut self, address: IpAddr, client: TurnSender) {
        let waiting = &mut self.addresses.entry(address).or_default().waiting;
        if waiting.is_empty() {
            self.rotation.push_back(address);
        }
        waiting.push_back(client);
    }

    /// Takes a turn for the next client that may have one.
    fn next_client(&mut self) -> Option<(IpAddr, TurnSender)> {
        if self.free() == 0 {
            return None;
        }
        // An address without a turn gets one, so that at most those with turns are passed over.
        let free = self.free();
        for _ in 0..self.rotation.len() {
            let address = self.rotation.pop_front()?;
            let entry = self.addresses.get_mut(&address)?;
            while entry.waiting.front().is_some_and(is_gone) {
                entry.waiting.pop_front();
            }
            let may_have = entry.turns < free;
            let client = may_have.then(|| entry.waiting.pop_front()).flatten();
            if client.is_some() {
                entry.turns += 1;
                self.taken += 1;
            }
            if !entry.waiting.is_empty() {
                self.rotation.push_back(address);
            } else if entry.turns == 0 {
                self.addresses.remove(&address);
            }
            if let Some(client) = client {
                return Some((address, client));
            }
        }
        None
    }

    /// Takes a turn for an address, unless it has as many as are free.
    fn take(&mut self, address: IpAddr) -> bool {
        let turns = self.addresses.get(&address).map_or(0, |it| it.turns);
        if turns >= self.free() {
            return false;
        }
        self.addresses.entry(address).or_default().turns += 1;
        self.taken += 1;
        true
    }

    fn give_back(&mut self, address: IpAddr) {
        self.taken -= 1;
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.turns -= 1;
            if entry.turns == 0 && entry.waiting.is_empty() {
                self.addresses.remove(&address);
            }
        }
    }
}

/// Returns whether a client has left or has got a turn.
fn is_gone(client: &TurnSender) -> bool {
    client.is_closed() || client.capacity() == 0
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;

    const ONE: &str = "192.0.2.1";
    const OTHER: &str = "192.0.2.2";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Clients of an address that ask at the same time: those with a turn, and the others.
    async fn ask(
        turns: &Turns,
        address: &str,
        clients: usize,
    ) -> (Vec<Turn>, Vec<BoxFuture<'static, Option<Turn>>>) {
        let (mut have, mut wait) = (Vec::new(), Vec::new());
        for _ in 0..clients {
            let (turns, peer) = (turns.clone(), ip(address));
            let mut client = async move { turns.of(peer).await }.boxed();
            match futures::poll!(&mut client) {
                std::task::Poll::Ready(turn) => have.push(turn.unwrap()),
                std::task::Poll::Pending => wait.push(client),
            }
        }
        (have, wait)
    }

    #[tokio::test]
    async fn address_alone_has_half_of_the_turns() {
        let turns = Turns::new(8);
        let (have, _wait) = ask(&turns, ONE, 100).await;
        assert_eq!(have.len(), 4);
    }

    #[tokio::test]
    async fn address_that_waits_keeps_no_other_one_out() {
        let turns = Turns::new(8);
        let (_have, _wait) = ask(&turns, ONE, 100).await;
        let (have, _others) = ask(&turns, OTHER, 100).await;
        assert_eq!(have.len(), 2);
        let (have, _third) = ask(&turns, "2001:db8::1", 1).await;
        assert_eq!(have.len(), 1);
    }

    #[tokio::test]
    async fn turns_that_become_free_go_to_addresses_in_rotation() {
        let turns = Turns::new(2);
        let (mut have, one) = ask(&turns, ONE, 3).await;
        let (taken, other) = ask(&turns, OTHER, 1).await;
        have.extend(taken);
        assert_eq!(have.len(), 2);
        let (none, third) = ask(&turns, "192.0.2.3", 1).await;
        assert!(none.is_empty());
        drop(have);
        let served = |clients: Vec<BoxFuture<'static, Option<Turn>>>| {
            let turns = clients.into_iter().filter_map(|c| c.now_or_never());
            turns.flatten().collect::<Vec<_>>()
        };
        let (third, one, other) = (served(third), served(one), served(other));
        assert_eq!((third.len(), one.len(), other.len()), (1, 1, 0));
    }

    #[tokio::test]
    async fn client_that_does_not_wait_gets_a_turn_like_those_that_do() {
        let turns = Turns::new(8);
        let of = |address| turns.try_of(ip(address));
        let one: Vec<_> = (0..100).map_while(|_| of(ONE)).collect();
        let other: Vec<_> = (0..100).map_while(|_| of(OTHER)).collect();
        assert_eq!((one.len(), other.len()), (4, 2));
        drop(one);
        assert!(of(OTHER).is_some());
    }

    #[tokio::test]
    async fn number_of_turns_changes_while_some_are_taken() {
        let turns = Turns::new(8);
        let (have, wait) = ask(&turns, ONE, 5).await;
        turns.set_count(2);
        assert!(turns.try_of(ip(OTHER)).is_none());
        turns.set_count(10);
        let served = wait.into_iter().filter_map(|c| c.now_or_never());
        assert_eq!((have.len(), served.count()), (4, 1));
        drop(have);
        assert_eq!(turns.0.lock().taken, 0);
    }

    #[tokio::test]
    async fn client_of_two_addresses_takes_the_first_turn_of_either() {
        let turns = Turns::new(2);
        let (first, _wait) = ask(&turns, ONE, 2).await;
        let (client, mut turn) = one_turn();
        for address in [ONE, OTHER, "192.0.2.3"] {
            turns.send_to(ip(address), client.clone());
        }
        let taken = turn.try_recv().unwrap();
        assert_eq!(taken.address, ip(OTHER));
        drop(turn);
        drop((first, taken));
        assert_eq!(turns.0.lock().free(), 1);
    }

    #[tokio::test]
    async fn client_that_has_left_takes_no_turn() {
        let turns = Turns::new(2);
        let (have, left) = ask(&turns, ONE, 10).await;
        drop(left);
        drop(have);
        let (have, wait) = ask(&turns, ONE, 2).await;
        assert_eq!((have.len(), wait.len()), (1, 1));
        drop((have, wait));
        assert!(ask(&turns, OTHER, 1).await.1.is_empty());
        let table = turns.0.lock();
        assert!(table.rotation.is_empty() && table.addresses.is_empty());
        assert_eq!(table.free(), 2);
    }
}
