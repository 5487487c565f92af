//! The settings of a fallback and their defaults.

use std::time::Duration;

use super::Level;
use super::cache::SHARDS;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Fallback`](crate::Fallback).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::fallback::Config;
    ///
    /// let config = Config::default().cache_max_age(Duration::from_hours(1)).cache_max_entries(50u32);
    /// assert_eq!((config.cache_max_age, config.cache_max_entries), (Duration::from_hours(1), 50));
    /// ```
    pub struct Config {
        /// How long an asynchronous level may take that has no time of its own; more than 0, at most 24 h.
        pub level_timeout: Duration = Duration::from_secs(1),
        /// How long an asynchronous replica may take; none: `level_timeout`.
        pub replica_timeout: Option<Duration> = None,
        /// How long an asynchronous distributed cache may take; none: `level_timeout`.
        pub distributed_cache_timeout: Option<Duration> = None,
        /// How long an asynchronous local cache of your own may take; none: `level_timeout`.
        pub local_cache_timeout: Option<Duration> = None,
        /// How long an asynchronous backup may take; none: `level_timeout`.
        pub backup_timeout: Option<Duration> = None,
        /// What the levels may still take together when the total time of the call is over; at most 1 min. With 0 a
        /// call that is late gets what answers at once: a local cache, or a default.
        pub grace: Duration = Duration::ZERO,
        /// Replicas, caches of your own and backups that may be asked at once; 1 to 1 000 000. Beyond that the next
        /// level is asked.
        pub max_concurrent: u32 = 64,
        /// How old an answer of the built-in local cache may be; more than 0, at most 30 days.
        pub cache_max_age: Duration = Duration::from_mins(10),
        /// Answers that the built-in local cache keeps; 16 to 1 000 000.
        pub cache_max_entries: u32 = 1000,
    }
}

impl Config {
    /// How long this level may take; `None` for a default, which nothing bounds.
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

    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        let fits = |span: Duration| !span.is_zero() && span <= DAY;
        error.require(
            fits(self.level_timeout),
            "level_timeout",
            self.level_timeout,
            "more than 0, at most 24 h",
        );
        for (field, span) in [
            ("replica_timeout", self.replica_timeout),
            ("distributed_cache_timeout", self.distributed_cache_timeout),
            ("local_cache_timeout", self.local_cache_timeout),
            ("backup_timeout", self.backup_timeout),
        ] {
            error.require(span.is_none_or(fits), field, span, "more than 0, at most 24 h");
        }
        error.require(self.grace <= Duration::from_mins(1), "grace", self.grace, "at most 1 min");
        let count = (1..=1_000_000).contains(&self.max_concurrent);
        error.require(count, "max_concurrent", self.max_concurrent, "1 to 1000000 levels at once");
        let age = !self.cache_max_age.is_zero() && self.cache_max_age <= 30 * DAY;
        error.require(age, "cache_max_age", self.cache_max_age, "more than 0, at most 30 days");
        let entries = (SHARDS..=1_000_000).contains(&self.cache_max_entries);
        error.require(entries, "cache_max_entries", self.cache_max_entries, "16 to 1000000 answers");
    }
}
