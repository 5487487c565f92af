//! The guard of everything that is around a call.

/// A part of what is around a call.
pub(crate) trait Part {
    /// Makes this the part of the thread again.
    fn restore(self);
}

/// Restores what was around, also when the body panics.
#[derive(Debug)]
pub(crate) struct Entered<P: Part = super::Scope>(Option<P>);

impl<P: Part> Entered<P> {
    /// Restores `outer` when it is dropped.
    #[inline]
    pub(super) fn from(outer: P) -> Self {
        Self(Some(outer))
    }

    /// Where everything stays as it is.
    #[inline]
    pub(crate) fn none() -> Self {
        Self(None)
    }
}

impl<P: Part> Drop for Entered<P> {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.0.take() {
            outer.restore();
        }
    }
}
