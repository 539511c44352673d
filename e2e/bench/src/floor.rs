//! The floor: what the kernel alone takes. Each thread sends the same bytes to every viewer of its own by a bare `send()` at each
//! interval, and does nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use media_wire::flv::{Tracks, file_header, write_tag};

use crate::clip::{EndlessClip, Sizes, init_data, now};

/// How often a thread looks for new connections while no frame is due.
const NEW_VIEWERS: Duration = Duration::from_millis(20);

/// Serves viewers with so many threads until the process is killed. Prints its port first. An interval of zero sends each frame as soon
/// as it is due, and those that have become due during a round of sends together.
pub(crate) fn serve(interval: Duration, threads: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    println!("{}", listener.local_addr()?.port());
    let start = now();
    let mut queues = Vec::new();
    for _ in 0..threads {
        let (queue, new_viewers) = channel();
        queues.push(queue);
        std::thread::spawn(move || send_to_viewers(&new_viewers, interval, start));
    }
    for queue in queues.iter().cycle() {
        let (viewer, _) = listener.accept().context("accept")?;
        queue.send(viewer).context("a thread has ended")?;
    }
    Ok(())
}

/// Sends the stream to the viewers that come.
fn send_to_viewers(new_viewers: &Receiver<TcpStream>, interval: Duration, start: Duration) {
    let mut waiting: Vec<TcpStream> = Vec::new();
    let mut viewers: Vec<TcpStream> = Vec::new();
    let mut init = file_header(Tracks {
        audio: true,
        video: true,
    })
    .to_vec();
    for message in init_data() {
        write_tag(&mut init, message.kind, message.timestamp, &message.payload);
    }
    let (mut clip, mut bytes) = (EndlessClip::new(Sizes::NORMAL), Vec::new());
    let mut next = Duration::ZERO;
    loop {
        // The frames that are due by the end of this interval, as one piece.
        next = (next + interval).max(clip.next_due());
        if interval.is_zero() {
            next = next.max(now() - start);
        }
        loop {
            // Also when it is late already, as with more viewers than it can send to in time.
            waiting.extend(new_viewers.try_iter().flat_map(answer));
            let left = next.saturating_sub(now() - start);
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NEW_VIEWERS));
        }
        bytes.clear();
        let mut keyframe = None;
        while clip.next_due() <= next {
            let frame = clip.next();
            if frame.is_keyframe() {
                keyframe = Some(bytes.len());
            }
            let message = frame.message(start + frame.due);
            write_tag(
                &mut bytes,
                message.kind,
                message.timestamp,
                &message.payload,
            );
        }
        viewers.retain_mut(|viewer| send(viewer, &bytes));
        if let Some(start) = keyframe {
            let first = [&init, bytes.get(start..).unwrap_or_default()].concat();
            waiting.retain_mut(|viewer| send(viewer, &first));
            viewers.append(&mut waiting);
        }
    }
}

/// Reads a request and sends the header of its response.
fn answer(mut viewer: TcpStream) -> Result<TcpStream> {
    viewer.set_nodelay(true)?;
    viewer.set_read_timeout(Some(Duration::from_secs(1)))?;
    let _request = viewer.read(&mut [0; 2048])?;
    viewer
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n")?;
    viewer.set_nonblocking(true)?;
    Ok(viewer)
}

/// Sends all bytes. A viewer that does not take them is disconnected: the rest would have to be buffered.
fn send(viewer: &mut TcpStream, bytes: &[u8]) -> bool {
    matches!(viewer.write(bytes), Ok(sent) if sent == bytes.len())
}
