//! TCP connections: those of the kernel, and in unit tests also those of a simulated network.

#[cfg(not(test))]
pub(crate) use super::kernel::*;
#[cfg(test)]
pub(crate) use super::simulated::either::*;
