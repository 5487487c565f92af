//! Installs the server for the tests of `resilient-redis`.

use crate::run::{has, installed};

/// Installs `redis-server` unless it is there. The tests start it on free ports and stop it.
pub(crate) fn install() -> Result<(), String> {
    if has("redis-server") || (installed("redis-server") && has("redis-server")) {
        return Ok(());
    }
    Err("`redis-server` 6.2 or later is required: install Redis".to_owned())
}
