//! A media node as a whole: its lifecycle, the threads it serves on, admission of connections, and the drain.

mod admission;
mod bind_error;
mod connections;
mod container_memory;
mod context;
mod drain;
mod lifecycle;
mod listener;
mod live_settings;
mod media_memory;
mod open_files;
mod port_contexts;
mod ports;
#[cfg(test)]
mod probe;
mod proxy_header;
mod returned_memory;
mod ticks;
mod timings;
mod viewer_lag;
mod worker_load;
mod workers;

pub use bind_error::BindError;
pub use lifecycle::Node;
pub use live_settings::LiveFile;
pub use ports::Addresses;
#[cfg(test)]
pub(crate) use probe::{Held, Probe};
pub use timings::Timings;
