//! What is around few calls: a correlation id, a collector of degraded answers, a lease, flights.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use super::{Entered, Part};
use crate::correlation::CorrelationId;

/// A part of the context that only the component knows that has put it there.
pub(crate) type Slot = Arc<dyn Any + Send + Sync>;

/// The parts that most calls do not have.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    id: Option<CorrelationId>,
    /// Where degraded answers are noted.
    degradation: Option<Slot>,
    /// That of the idempotent call around this code.
    lease: Option<Slot>,
    /// The keys of the flights that this code leads: one that waited for itself would wait for ever.
    flights: Vec<u128>,
}

thread_local! {
    /// Apart from the scope, which is read with each call and needs no destructor.
    static REST: RefCell<Rest> = const { RefCell::new(Rest::NONE) };
}

impl Rest {
    const NONE: Self = Self { id: None, degradation: None, lease: None, flights: Vec::new() };

    /// A copy, where there is anything.
    pub(super) fn current() -> Option<Box<Self>> {
        read(|rest| rest.is_some().then(|| Box::new(rest.clone()))).flatten()
    }

    fn is_some(&self) -> bool {
        self.id.is_some() || self.degradation.is_some() || self.lease.is_some() || !self.flights.is_empty()
    }

    /// Makes this what is around the thread: what it does not have stays, and so do the flights that the thread leads.
    pub(super) fn enter(&self) -> Entered<Before> {
        replace(|around| {
            let Self { id, degradation, lease, flights } = self.clone();
            let inside = Self {
                id: id.or_else(|| around.id.clone()),
                degradation: degradation.or_else(|| around.degradation.clone()),
                lease: lease.or_else(|| around.lease.clone()),
                flights: [&*around.flights, &*flights].concat(),
            };
            Before::All(Box::new(std::mem::replace(around, inside)))
        })
    }
}

/// What was around before a part was entered.
#[derive(Debug)]
pub(crate) enum Before {
    Id(Option<CorrelationId>),
    Degradation(Option<Slot>),
    Lease(Option<Slot>),
    #[allow(private_interfaces)] // it is made and read here alone
    All(Box<Rest>),
}

impl Part for Before {
    fn restore(self) {
        // What is left is dropped when nothing is borrowed any more.
        let _left = REST.try_with(|rest| {
            let rest = &mut *rest.borrow_mut();
            match self {
                Self::Id(id) => Self::Id(std::mem::replace(&mut rest.id, id)),
                Self::Degradation(slot) => Self::Degradation(std::mem::replace(&mut rest.degradation, slot)),
                Self::Lease(slot) => Self::Lease(std::mem::replace(&mut rest.lease, slot)),
                Self::All(mut before) => {
                    std::mem::swap(rest, &mut before);
                    Self::All(before)
                }
            }
        });
    }
}

/// How many flights the thread led before. A type of its own: each coalesced call enters one.
#[derive(Debug)]
pub(crate) struct Flights(usize);

impl Part for Flights {
    #[inline]
    fn restore(self) {
        let _ = REST.try_with(|rest| rest.borrow_mut().flights.truncate(self.0));
    }
}

/// `None` while the thread ends.
#[inline]
fn read<R>(look: impl FnOnce(&Rest) -> R) -> Option<R> {
    REST.try_with(|rest| look(&rest.borrow())).ok()
}

fn replace(change: impl FnOnce(&mut Rest) -> Before) -> Entered<Before> {
    REST.try_with(|rest| change(&mut rest.borrow_mut())).map_or_else(|_| Entered::none(), Entered::from)
}

pub(super) fn id() -> Option<CorrelationId> {
    read(|rest| rest.id.clone()).flatten()
}

pub(super) fn enter_id(id: CorrelationId) -> Entered<Before> {
    replace(|rest| Before::Id(rest.id.replace(id)))
}

/// Where degraded answers are noted here.
pub(crate) fn degradation() -> Option<Slot> {
    read(|rest| rest.degradation.clone()).flatten()
}

/// Whether degraded answers are noted anywhere.
pub(crate) fn notes_degradation() -> bool {
    read(|rest| rest.degradation.is_some()).unwrap_or(false)
}

pub(crate) fn enter_degradation(collector: Slot) -> Entered<Before> {
    replace(|rest| Before::Degradation(rest.degradation.replace(collector)))
}

/// That of the idempotent call around this code.
pub(crate) fn lease() -> Option<Slot> {
    read(|rest| rest.lease.clone()).flatten()
}

pub(crate) fn enter_lease(lease: Slot) -> Entered<Before> {
    replace(|rest| Before::Lease(rest.lease.replace(lease)))
}

/// Whether this code leads the flight of this key.
#[inline]
pub(crate) fn leads_flight(key: u128) -> bool {
    read(|rest| rest.flights.contains(&key)).unwrap_or(false)
}

/// Marks this thread as inside of the flight of a key.
#[inline]
pub(crate) fn enter_flight(key: u128) -> Entered<Flights> {
    let entered = REST.try_with(|rest| {
        let flights = &mut rest.borrow_mut().flights;
        flights.push(key);
        Entered::from(Flights(flights.len() - 1))
    });
    entered.unwrap_or_else(|_| Entered::none())
}
