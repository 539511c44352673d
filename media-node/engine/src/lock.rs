//! Locks of state that a panic of another task does not make invalid.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex even if a former holder panicked: every statement that can panic leaves the data consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
