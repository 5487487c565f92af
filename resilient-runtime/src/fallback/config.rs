//! The settings of a fallback and their defaults.

use std::sync::Arc;
use std::time::Duration;

use super::Level;
use crate::settings::settings;

settings! {
    /// The settings of a [`Fallback`](crate::Fallback).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::fallback::Config;
    ///
    /// let config = Config::default().cache_max_age(Duration::from_hours(1)).cache_max_entries(50);
    /// assert_eq!((config.cache_max_age, config.cache_max_entries), (Duration::from_hours(1), 50));
    /// ```
    pub struct Config: fallback {
        level_timeout: Duration,
        replica_timeout: Option<Duration>,
        distributed_cache_timeout: Option<Duration>,
        distributed_cache_store: Option<Arc<str>>,
        distributed_cache_max_age: Duration,
        distributed_cache_reread_after: Duration,
        distributed_cache_remember_absent: Duration,
        distributed_cache_max_bytes: u32,
        distributed_cache_max_entries: u32,
        local_cache_timeout: Option<Duration>,
        backup_timeout: Option<Duration>,
        grace: Duration,
        max_concurrent: u32,
        cache_max_age: Duration,
        cache_max_entries: u32,
    }
}

impl Config {
    /// Returns the timeout of a level. `None` for [`Level::Default`], which has no timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::fallback::{Config, Level};
    ///
    /// let config = Config::default().backup_timeout(Duration::from_secs(5));
    /// assert_eq!(config.timeout_of(Level::Backup), Some(Duration::from_secs(5)));
    /// assert_eq!(config.timeout_of(Level::Replica), Some(Duration::from_secs(1)));
    /// assert_eq!(config.timeout_of(Level::Default), None);
    /// ```
    pub fn timeout_of(&self, level: Level) -> Option<Duration> {
        let own = match level {
            Level::Replica => self.replica_timeout,
            Level::DistributedCache => self.distributed_cache_timeout,
            Level::LocalCache => self.local_cache_timeout,
            Level::Backup => self.backup_timeout,
            Level::Default => return None,
        };
        Some(own.unwrap_or(self.level_timeout))
    }
}
