//! The engine from outside: publish, read, compare.

mod epochs;
mod relays;
mod support;
mod viewers;
