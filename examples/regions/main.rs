//! Replica sets in two regions that lose their connection, with a type of conflict resolution for each purpose.
//!
//!     cargo run --example regions
//!
//! | data | type | mode | while the regions are separated |
//! |---|---|---|---|
//! | settings | last writer wins | `Cp` | the region with fewer members refuses |
//! | visits | `PnCounter` | `Ap` | both regions count |
//! | cart | `OrMap` of `MapCounter` | `Ap` | both regions add and remove |
//! | notes | a document of `automerge` | `Ap` | both regions edit |

mod document;
mod link;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resilient_replica::resolve::{Actor, HybridClock, MapCounter, OrMap, PnCounter};
use resilient_replica::{Builder, LastWriteWins, MemoryReplica, Merging, Mode, ReplicaSet, Resolver, Value};
use resilient_runtime::Registry;

use document::Document;
use link::Link;

type Cart = OrMap<String, MapCounter>;

/// An instance of the service, with its connections to all members.
struct Instance {
    settings: ReplicaSet<String>,
    visits: ReplicaSet<PnCounter, Merging>,
    carts: ReplicaSet<Cart, Merging>,
    notes: ReplicaSet<Document, Merging>,
    /// The connections to the other region.
    far: Arc<AtomicBool>,
    // The registry has the stores that the sets use.
    _registry: Registry,
}

const MEMBERS: [(&str, &str); 3] = [("eu", "eu-1"), ("eu", "eu-2"), ("us", "us-1")];

impl Instance {
    fn new(region: &str, members: &[Arc<MemoryReplica>; 3]) -> Result<Self, Box<dyn Error>> {
        let (registry, far) = (Registry::new(), Arc::new(AtomicBool::new(false)));
        for ((of, name), member) in MEMBERS.iter().zip(members) {
            let is_cut = if *of == region { Arc::default() } else { Arc::clone(&far) };
            registry.use_store(name, Link { member: Arc::clone(member), is_cut });
        }
        // One clock for all sets. Its name is the same after a restart.
        let clock = HybridClock::new(Actor::named(&format!("shop-{region}")));
        Ok(Self {
            settings: set("settings", &clock, region).mode(Mode::Cp).build(&registry)?,
            visits: set("visits", &clock, region).mode(Mode::Ap).merging().build(&registry)?,
            carts: set("carts", &clock, region).mode(Mode::Ap).merging().build(&registry)?,
            notes: set("notes", &clock, region).mode(Mode::Ap).merging().build(&registry)?,
            far,
            _registry: registry,
        })
    }

    fn separate(&self, is_cut: bool) {
        self.far.store(is_cut, Ordering::Relaxed);
    }

    async fn visit(&self, count: i64) -> Result<(), Box<dyn Error>> {
        self.visits.update("home page", |visits, actor| visits.add(actor, count).map(drop)).await?;
        Ok(())
    }

    async fn put(&self, item: &str, count: i64) -> Result<(), Box<dyn Error>> {
        let add = |cart: &mut Cart, actor: Actor| {
            cart.update(item.to_owned(), |counter| counter.add(actor, count)).map(drop)
        };
        self.carts.update("user 7", add).await?;
        Ok(())
    }

    async fn write_note(&self, position: usize, words: &str) -> Result<(), Box<dyn Error>> {
        self.notes.update("order 7", |notes, actor| notes.insert(actor, position, words)).await?;
        Ok(())
    }

    /// Prints all data as this instance sees it.
    async fn show(&self, name: &str) -> Result<(), Box<dyn Error>> {
        let theme = match self.settings.read("theme").await {
            Ok(read) => read.value.unwrap_or_default(),
            Err(refused) => format!("refused ({})", refused.problem),
        };
        let visits = self.visits.read("home page").await?;
        let cart = self.carts.read("user 7").await?.value.unwrap_or_default();
        let cart: Vec<_> = cart.iter().map(|(item, count)| format!("{} {item}", count.value())).collect();
        let notes = self.notes.read("order 7").await?.value.unwrap_or_default();
        let stale = if visits.may_be_stale { " (may be stale)" } else { "" };
        println!("  {name}: theme {theme}");
        println!(
            "      {} visits{stale}; cart: {}",
            visits.value.map_or(0, |count| count.value()),
            cart.join(", ")
        );
        println!("      notes: {:?}", notes.text());
        Ok(())
    }
}

fn set<T: Value>(name: &str, clock: &HybridClock, region: &str) -> Builder<T, LastWriteWins> {
    let builder = ReplicaSet::builder(name, clock.clone()).region(region);
    MEMBERS.iter().fold(builder, |builder, (of, member)| builder.member_in(*of, *member))
}

/// Sweeps until all members are reached and have the same. A store that failed is tried again after a moment.
async fn sweep<T: Value, R: Resolver<T>>(set: &ReplicaSet<T, R>) {
    while !set.sweep().await.is_ok_and(|sweep| sweep.unreachable.is_empty() && sweep.different_ranges == 0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}

#[cfg(test)]
#[tokio::test]
async fn no_change_is_lost() {
    run().await.unwrap();
}

async fn run() -> Result<(), Box<dyn Error>> {
    let members = [(); 3].map(|()| Arc::new(MemoryReplica::new()));
    let (eu, us) = (Instance::new("eu", &members)?, Instance::new("us", &members)?);

    println!("Both regions are connected:");
    eu.settings.write("theme", &"light".to_owned()).await?;
    eu.visit(100).await?;
    us.put("milk", 1).await?;
    us.write_note(0, "Please ring.").await?;
    eu.show("eu").await?;

    println!("The connection between the regions is cut. Europe has two of three members:");
    eu.separate(true);
    us.separate(true);
    eu.settings.write("theme", &"dark".to_owned()).await?;
    eu.visit(20).await?;
    us.visit(3).await?;
    eu.put("milk", 2).await?;
    us.put("bread", 1).await?;
    eu.write_note(0, "At the back door: ").await?;
    us.write_note(12, " Beware of the dog.").await?;
    eu.show("eu").await?;
    us.show("us").await?;

    println!("The connection is back, and a sweep exchanges the differences:");
    eu.separate(false);
    us.separate(false);
    for instance in [&eu, &us] {
        sweep(&instance.settings).await;
        sweep(&instance.visits).await;
        sweep(&instance.carts).await;
        sweep(&instance.notes).await;
    }
    eu.show("eu").await?;
    us.show("us").await?;

    let visits = us.visits.read("home page").await?.value.map_or(0, |count| count.value());
    let notes = us.notes.read("order 7").await?.value.unwrap_or_default().text();
    let is_expected = visits == 123 && notes == "At the back door: Please ring. Beware of the dog.";
    if is_expected { Ok(()) } else { Err("a change is lost".into()) }
}
