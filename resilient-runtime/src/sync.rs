//! The atomics and locks of the crate, in one module so that loom can replace them.
//!
//! With `RUSTFLAGS="--cfg resilient_loom"` the names below are loom's, and `cargo xtask models` explores every
//! interleaving of the lock-free parts. Poisoning is ignored: no critical section can leave its data half written.

#[cfg(resilient_loom)]
use loom::sync as real;
#[cfg(not(resilient_loom))]
use std::sync as real;

pub(crate) use real::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

/// A condition variable that ignores poison.
#[derive(Debug)]
pub(crate) struct Condvar(real::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(real::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A mutex that ignores poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(real::Mutex<T>);

pub(crate) type MutexGuard<'a, T> = real::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(real::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the guard, or `None` if another thread holds the lock.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}
