//! The locks and atomics of leases and entries: the usual ones, or loom's, so that the model test explores every
//! order in which a registration and a revocation can meet.

#[cfg(feature = "model")]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
#[cfg(not(feature = "model"))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// A mutex whose guard is had without a `Result`: a panic while it is held must not lock everybody out.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(
    #[cfg(feature = "model")] loom::sync::Mutex<T>,
    #[cfg(not(feature = "model"))] parking_lot::Mutex<T>,
);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        #[cfg(feature = "model")]
        return Self(loom::sync::Mutex::new(value));
        #[cfg(not(feature = "model"))]
        Self(parking_lot::Mutex::new(value))
    }

    #[cfg(not(feature = "model"))]
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
        self.0.lock()
    }

    #[cfg(feature = "model")]
    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
