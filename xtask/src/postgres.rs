//! Installs the servers for the tests of `resilient-postgres`.

use std::path::Path;

use crate::run::{has, installed};

/// Installs `PostgreSQL`, pgbouncer and Redis unless they are there. The tests start them on free ports and stop them.
pub(crate) fn install() -> Result<(), String> {
    if !(has_server() || installed("postgresql") && has_server()) {
        return Err("`PostgreSQL` 13 or later is required: install it".to_owned());
    }
    if !(has("pgbouncer") || installed("pgbouncer") && has("pgbouncer")) {
        return Err("`pgbouncer` is required: install it".to_owned());
    }
    if !(has("redis-server") || installed("redis-server")) {
        return Err("`redis-server` is required: install it".to_owned());
    }
    Ok(())
}

/// Debian does not link the program into the path.
fn has_server() -> bool {
    let mut versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    has("initdb") || versions.any(|version| Path::new(&version.path()).join("bin/initdb").exists())
}
