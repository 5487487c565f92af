//! Installs the servers for the tests of `resilient-redis`.

use crate::run::{has, installed};

/// The programs, which are packages of the same name. `redis-cli` comes with `redis-server`.
const PROGRAMS: [&str; 2] = ["redis-server", "redis-sentinel"];

/// Installs the programs that are not there. The tests start them on free ports and stop them.
pub(crate) fn install() -> Result<(), String> {
    for program in PROGRAMS {
        if !(has(program) || (installed(program) && has(program))) {
            return Err(format!("`{program}` 6.2 or later is required: install Redis"));
        }
    }
    Ok(())
}
