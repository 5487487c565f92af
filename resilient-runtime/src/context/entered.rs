//! The guard that restores the context.

/// A part of the context.
pub(crate) trait Part {
    /// Makes this the current part of the thread again.
    fn restore(self);
}

/// Restores the outer context, also when the body panics.
#[derive(Debug)]
pub(crate) struct Entered<P: Part = super::Scope>(Option<P>);

impl<P: Part> Entered<P> {
    /// Restores `outer` when it is dropped.
    #[inline]
    pub(super) fn from(outer: P) -> Self {
        Self(Some(outer))
    }

    /// A guard that restores nothing.
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
