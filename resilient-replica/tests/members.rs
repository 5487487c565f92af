//! The members in this crate keep every rule of a member.

use resilient_replica::MemoryReplica;
use resilient_runtime::testing::check_replica_store;

#[tokio::test]
async fn a_member_in_memory_keeps_every_rule() {
    // T209
    check_replica_store(&MemoryReplica::new()).await.unwrap();
}
