//! The running instances of a service: a sorted set at the key `PREFIX:instances`.

use std::time::Duration;

use resilient_runtime::store::{Answer, InstanceStore};

use crate::operation::Operation;
use crate::script::ANNOUNCE;
use crate::store::{RedisStore, hex, micros};

impl RedisStore {
    fn announcement(&self, instance: u128, lasts: Duration) -> Answer<'_, u32> {
        let operation = Operation {
            script: &ANNOUNCE,
            key: self.key("instances"),
            has_deadline: false,
            arguments: vec![hex(instance), micros(lasts)],
        };
        self.perform(operation, |session, reply| match &*reply.status {
            "counted" => session.number(&reply),
            _ => Err(session.unusable(&reply)),
        })
    }
}

impl InstanceStore for RedisStore {
    fn announce(&self, instance: u128, lasts: Duration) -> Answer<'_, u32> {
        // A duration of zero would end the announcement.
        self.announcement(instance, lasts.max(Duration::from_micros(1)))
    }

    fn leave(&self, instance: u128) -> Answer<'_, ()> {
        let left = self.announcement(instance, Duration::ZERO);
        Box::pin(async move { left.await.map(drop) })
    }
}
