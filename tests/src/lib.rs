//! The tests of this package are in `tests/`; there is nothing to import.
