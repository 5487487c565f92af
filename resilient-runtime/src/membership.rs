//! Whether the attribute lets faults affect a function.

/// Whether the attribute lets faults affect a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// No argument: it is a target by its name and its components.
    #[default]
    Target,
    /// `chaos = off`
    Exempt,
    /// `chaos = "group"`
    Group(&'static str),
}
