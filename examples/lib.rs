//! The examples of this package stand beside this file; there is nothing to import.
