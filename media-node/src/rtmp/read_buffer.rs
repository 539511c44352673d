//! The buffer that the encoders of a worker read into, one after another.
//!
//! A media node has many encoders, and each has unprocessed bytes only while its task runs. A buffer for each of them would be
//! as large as a keyframe, and a new one for each read, because messages are parts of it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use crate::delivery::socket::Socket;

/// The maximum bytes of one read. Most keyframes of high-quality video fit.
pub(super) const READ: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<BytesMut> = Cell::default();
}

/// Reads bytes behind those of `input`, which becomes the worker's buffer. Call [`give_back`] after they are processed.
/// Returns 0 at the end of the connection. Cancel safe.
pub(super) async fn read(socket: &mut Socket, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| poll_read(socket, context, input)).await
}

fn poll_read(
    socket: &mut Socket,
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut buffer = BUFFER.take();
    buffer.clear();
    // Allocates only when a message of the last encoder is still alive, or another encoder has the buffer.
    buffer.reserve(input.len() + READ);
    buffer.extend_from_slice(input);
    let read = pin!(socket.read_buf(&mut buffer)).poll(context);
    if let Poll::Ready(Ok(1..)) = read {
        *input = buffer;
    } else {
        BUFFER.set(buffer);
    }
    Poll::Ready(ready!(read))
}

/// Returns the buffer to the worker. The bytes that are left, a part of a header at most, move to one of their own.
pub(super) fn give_back(input: &mut BytesMut) {
    let rest = if input.is_empty() {
        BytesMut::new()
    } else {
        BytesMut::from(input.as_ref())
    };
    BUFFER.set(std::mem::replace(input, rest));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn connection() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let encoder = TcpStream::connect(address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        (Socket::Plain(socket.into()), encoder)
    }

    /// Reads until there are so many bytes.
    async fn read_all(socket: &mut Socket, input: &mut BytesMut, count: usize) {
        while input.len() < count {
            assert!(read(socket, input).await.unwrap() > 0);
        }
    }

    #[tokio::test]
    async fn encoder_keeps_only_what_was_not_processed() {
        let (mut socket, mut encoder) = connection().await;
        encoder.write_all(&[7; 1_000]).await.unwrap();
        let mut input = BytesMut::new();
        read_all(&mut socket, &mut input, 1_000).await;
        drop(input.split_to(990));
        give_back(&mut input);
        assert_eq!(input.as_ref(), [7; 10]);
        assert!(input.capacity() < 100);
        encoder.write_all(&[8; 10]).await.unwrap();
        read_all(&mut socket, &mut input, 20).await;
        assert_eq!(input.as_ref(), [[7; 10], [8; 10]].concat());
        drop(encoder);
        assert_eq!(read(&mut socket, &mut input).await.unwrap(), 0);
        assert_eq!(input.len(), 20);
    }

    #[tokio::test]
    async fn encoders_read_into_one_buffer_in_turn() {
        let mut connections = [connection().await, connection().await];
        let mut addresses = Vec::new();
        for number in [0, 1, 0] {
            let (socket, encoder) = &mut connections[number];
            encoder.write_all(&[7; 1_000]).await.unwrap();
            let mut input = BytesMut::new();
            read_all(socket, &mut input, 1_000).await;
            addresses.push(input.as_ptr());
            drop(input.split().freeze());
            give_back(&mut input);
        }
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    }

    #[tokio::test]
    async fn message_that_is_kept_is_not_overwritten() {
        let (mut socket, mut encoder) = connection().await;
        let mut input = BytesMut::new();
        encoder.write_all(&[7; 1_000]).await.unwrap();
        read_all(&mut socket, &mut input, 1_000).await;
        let kept = input.split().freeze();
        give_back(&mut input);
        encoder.write_all(&[8; 1_000]).await.unwrap();
        read_all(&mut socket, &mut input, 1_000).await;
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
