//! Members and hints in files: restarts, killed processes, bad files.
#![cfg(feature = "durable")]

#[path = "files/folder.rs"]
mod folder;
#[path = "files/hints.rs"]
mod hints;
#[path = "files/kills.rs"]
mod kills;
#[path = "files/member.rs"]
mod member;
