//! The running instances of a service: a sorted set at the key `PREFIX:instances`.

use std::time::Duration;

use resilient_runtime::store::{Answer, InstanceStore};

use crate::script::ANNOUNCE;
use crate::session::Operation;
use crate::store::{RedisStore, hex, micros};

impl RedisStore {
    fn announcement(&self, instance: u128, lasts: Duration) -> Answer<'_, u32> {
        let key = format!("{}:instances", self.session.prefix());
        let arguments = vec![hex(instance), micros(lasts)];
        let operation = Operation::new(&ANNOUNCE, key, arguments).repeatable();
        self.session.perform(operation, |session, reply| match &*reply.status {
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
