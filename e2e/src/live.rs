//! An encoder and viewers of our own, that number every message: what was lost, came twice or went back in time is exactly
//! known, while it runs.
