//! The kernel's queue of packets.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nfq::{Message, Queue, Verdict};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::PacketDelay;

/// Opens the queue of a network. The calling thread stays in that network.
pub(super) fn open(network: &str) -> Result<Queue> {
    let file = File::open(format!("/run/netns/{network}")).context("open the network")?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .context("enter the network")?;
    let mut queue = Queue::open().context("open a queue of packets")?;
    queue.bind(0)?;
    queue.set_queue_max_len(0, MAX_PACKETS)?;
    queue.set_nonblocking(true);
    Ok(queue)
}

pub(super) fn pass_later(mut queue: Queue, delay: PacketDelay, stop: &AtomicBool) {
    let random = RandomState::new();
    // By when they pass, and by their number.
    let mut waiting: BTreeMap<(Instant, u32), Message> = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        loop {
            match queue.recv() {
                Ok(packet) => {
                    number += 1;
                    let share = random.hash_one(number) % 1000;
                    let added = delay.jitter.mul_f64(share as f64 / 1000.0);
                    waiting.insert((Instant::now() + delay.least + added, number), packet);
                }
                // The kernel drops what the queue has no room for, as a router does.
                Err(error) if error.raw_os_error() == Some(NO_BUFFERS) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        let now = Instant::now();
        while let Some(first) = waiting.first_entry()
            && first.key().0 <= now
        {
            pass(&mut queue, first.remove());
        }
        std::thread::sleep(PRECISION);
    }
    for packet in waiting.into_values() {
        pass(&mut queue, packet);
    }
}

fn pass(queue: &mut Queue, mut packet: Message) {
    packet.set_verdict(Verdict::Accept);
    // A packet that does not pass is lost, which TCP notices.
    drop(queue.verdict(packet));
}

/// More than a media node receives within a second.
const MAX_PACKETS: u32 = 10_000;

/// How exactly a packet passes.
const PRECISION: Duration = Duration::from_millis(1);

/// `ENOBUFS`.
const NO_BUFFERS: i32 = 105;
