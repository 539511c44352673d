//! An encoder and viewers of our own, that number every message: what was lost, came twice or went back in time is exactly
//! known, while it runs.

mod encoder;
pub mod film;
pub mod sightings;
mod viewer;

pub use encoder::Encoder;
pub use sightings::Sightings;
pub use viewer::{CLEAN, Viewer};
