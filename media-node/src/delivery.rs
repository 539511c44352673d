//! Delivery of a stream to a viewer, the same for every protocol: finds the stream, then writes it to the socket.

pub(crate) mod finder;
pub(crate) mod framing;
pub(crate) mod socket;
pub(crate) mod socket_memory;
pub(crate) mod stream_summary;
pub(crate) mod viewer;
pub(crate) mod viewer_end;
