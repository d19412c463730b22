//! Immutable bytes that many queues hold at the price of a counter each.

use std::ops::Deref;
use std::sync::Arc;

/// One encoded frame or payload: cloned by reference count, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared(Arc<[u8]>);

impl Shared {
    /// Copies `bytes` once, into the one allocation that all clones share.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Shared {
        Shared(Arc::from(bytes))
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_allocation() {
        let a = Shared::copy_of(b"frame");
        let b = a.clone();
        assert_eq!(a.as_ptr(), b.as_ptr());
        assert_eq!(&*b, b"frame");
    }
}
