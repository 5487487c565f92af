//! Empty library: the examples of this package are separate programs.
