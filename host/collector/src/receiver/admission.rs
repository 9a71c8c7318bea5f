//! Admission by bytes: how much all requests that are on their way in may hold together.
//!
//! A body is charged chunk by chunk as it arrives and again by what comes out of decompression;
//! the charge is given back when the request is answered, or its sender goes away. Who finds no
//! room is told to come back: memory stays bounded however many senders there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Enough for four requests of the largest size, far less than an edge box has.
pub const DEFAULT_BYTES: usize = 256 * 1024 * 1024;

/// The budget of the process. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    limit: usize,
}

/// What one request holds. Gives it back when dropped.
#[derive(Debug)]
pub struct Charge {
    shared: Arc<Shared>,
    bytes: usize,
}

/// The budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are on their way in")]
pub struct OverBudget;

impl Admission {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Shared { used: AtomicUsize::new(0), limit }) }
    }

    /// A charge of nothing, to grow.
    pub fn charge(&self) -> Charge {
        Charge { shared: Arc::clone(&self.shared), bytes: 0 }
    }

    /// Bytes that are charged now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Charge {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// When the budget has no room for them; then nothing is taken.
    pub fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let before = self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.shared.limit {
            self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OverBudget);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_comes_back() {
        let admission = Admission::new(100);
        let (mut one, mut two) = (admission.charge(), admission.charge());
        one.grow(60).unwrap();
        assert_eq!(two.grow(41), Err(OverBudget));
        two.grow(40).unwrap();
        assert_eq!(admission.used(), 100);
        drop(one);
        assert_eq!(admission.used(), 40);
        drop(two);
        assert_eq!(admission.used(), 0);
    }
}
