//! The stream that media nodes pass to each other: FLV with marks.
//!
//! A [`Mark`] is a script tag with a name that no player reads, so the stream stays valid FLV. It precedes the first tag,
//! and each tag whose epoch or sequence does not follow from the tag before it.

mod mark;
mod reader;

pub use mark::{Epoch, Mark};
pub use reader::{RelayError, RelayItem, RelayReader};
