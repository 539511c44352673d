//! From a viewer's request to the bytes on its socket, the same for every protocol.

pub(crate) mod play;
pub(crate) mod socket;
pub(crate) mod viewer;
