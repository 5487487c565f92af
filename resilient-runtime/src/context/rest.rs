//! The context that few calls have: a correlation id, a collector of degraded results, a lease, flights, the token
//! of faults.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use super::{Entered, Part};
use crate::correlation::CorrelationId;

/// A part of the context with a type known only to the component that set it.
pub(crate) type Slot = Arc<dyn Any + Send + Sync>;

/// The parts that most calls do not have.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    id: Option<CorrelationId>,
    /// The collector of degraded results.
    degradation: Option<Slot>,
    /// The lease of the enclosing idempotent call.
    lease: Option<Slot>,
    /// The keys of the flights that this code leads. A call that joined its own flight would wait forever.
    flights: Vec<u128>,
    /// The token of faults that affect this code.
    #[cfg(feature = "chaos")]
    token: Option<Arc<str>>,
}

thread_local! {
    /// Separate from the scope, which every call reads and which needs no destructor.
    static REST: RefCell<Rest> = const { RefCell::new(Rest::NONE) };
}

impl Rest {
    const NONE: Self = Self {
        id: None,
        degradation: None,
        lease: None,
        flights: Vec::new(),
        #[cfg(feature = "chaos")]
        token: None,
    };

    /// Copies it, if it is not empty.
    pub(super) fn current() -> Option<Box<Self>> {
        read(|rest| rest.is_some().then(|| Box::new(rest.clone()))).flatten()
    }

    fn is_some(&self) -> bool {
        #[cfg(feature = "chaos")]
        if self.token.is_some() {
            return true;
        }
        self.id.is_some() || self.degradation.is_some() || self.lease.is_some() || !self.flights.is_empty()
    }

    /// Makes this the current context. Parts that it lacks and the flights of the thread stay.
    pub(super) fn enter(&self) -> Entered<Before> {
        replace(|around| {
            let inside = self.clone();
            let (id, degradation, lease, flights) =
                (inside.id, inside.degradation, inside.lease, inside.flights);
            let inside = Self {
                id: id.or_else(|| around.id.clone()),
                degradation: degradation.or_else(|| around.degradation.clone()),
                lease: lease.or_else(|| around.lease.clone()),
                flights: [&*around.flights, &*flights].concat(),
                #[cfg(feature = "chaos")]
                token: inside.token.or_else(|| around.token.clone()),
            };
            Before::All(Box::new(std::mem::replace(around, inside)))
        })
    }
}

/// The part that was replaced on entering.
#[derive(Debug)]
pub(crate) enum Before {
    Id(Option<CorrelationId>),
    Degradation(Option<Slot>),
    Lease(Option<Slot>),
    #[cfg(feature = "chaos")]
    Token(Option<Arc<str>>),
    #[allow(private_interfaces)] // made and read only here
    All(Box<Rest>),
}

impl Part for Before {
    fn restore(self) {
        // The replaced part is dropped only after the borrow ends.
        let _left = REST.try_with(|rest| {
            let rest = &mut *rest.borrow_mut();
            match self {
                Self::Id(id) => Self::Id(std::mem::replace(&mut rest.id, id)),
                Self::Degradation(slot) => Self::Degradation(std::mem::replace(&mut rest.degradation, slot)),
                Self::Lease(slot) => Self::Lease(std::mem::replace(&mut rest.lease, slot)),
                #[cfg(feature = "chaos")]
                Self::Token(token) => Self::Token(std::mem::replace(&mut rest.token, token)),
                Self::All(mut before) => {
                    std::mem::swap(rest, &mut before);
                    Self::All(before)
                }
            }
        });
    }
}

/// The number of flights that the thread led before. A separate type, because each coalesced call enters one.
#[derive(Debug)]
pub(crate) struct Flights(usize);

impl Part for Flights {
    #[inline]
    fn restore(self) {
        let _ = REST.try_with(|rest| rest.borrow_mut().flights.truncate(self.0));
    }
}

/// `None` during the destruction of the thread.
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

/// Returns the token of faults that affect this code.
#[cfg(feature = "chaos")]
pub(crate) fn token() -> Option<Arc<str>> {
    read(|rest| rest.token.clone()).flatten()
}

#[cfg(feature = "chaos")]
pub(crate) fn enter_token(token: Arc<str>) -> Entered<Before> {
    replace(|rest| Before::Token(rest.token.replace(token)))
}

/// Returns the current collector of degraded results.
pub(crate) fn degradation() -> Option<Slot> {
    read(|rest| rest.degradation.clone()).flatten()
}

/// Whether there is a collector of degraded results.
pub(crate) fn notes_degradation() -> bool {
    read(|rest| rest.degradation.is_some()).unwrap_or(false)
}

pub(crate) fn enter_degradation(collector: Slot) -> Entered<Before> {
    replace(|rest| Before::Degradation(rest.degradation.replace(collector)))
}

/// Returns the lease of the enclosing idempotent call.
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

/// Marks this thread as leading the flight of a key.
#[inline]
pub(crate) fn enter_flight(key: u128) -> Entered<Flights> {
    let entered = REST.try_with(|rest| {
        let flights = &mut rest.borrow_mut().flights;
        flights.push(key);
        Entered::from(Flights(flights.len() - 1))
    });
    entered.unwrap_or_else(|_| Entered::none())
}
