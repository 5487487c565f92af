//! Control of fault injection and chaos experiments over HTTP.
//!
//! | file | contents |
//! |---|---|
//! | `control.rs` | the state: experiments and monkeys that the API knows |
//! | `overview.rs` | the overview, and the end of all faults and experiments |
//! | `faults.rs` | faults armed by hand |
//! | `scenarios.rs` | the shipped scenarios |
//! | `experiments.rs`, `start.rs` | experiments: list, start, abort |
//! | `record.rs` | one experiment: its state, for JSON |
//! | `attended.rs` | the abort of an attended experiment that no client follows any more |
//! | `journal.rs` | journals as streams |
//! | `report.rs` | reports |
//! | `monkey.rs` | the chaos monkey |
//! | `annotations.rs` | annotation data for Grafana |
//! | `body.rs` | request bodies and queries, with near names |
//! | `openapi.rs` | the description of all of it |

mod annotations;
mod attended;
mod body;
mod control;
mod experiments;
mod faults;
mod journal;
mod monkey;
mod openapi;
mod overview;
mod record;
mod report;
mod scenarios;
mod start;

use axum::Router;
use axum::routing::{delete, get, post};

use super::App;
pub(super) use control::Control;
pub(super) use openapi::paths;

/// The routes below `/chaos`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/chaos", get(overview::overview))
        .route("/chaos/stop", post(overview::stop))
        .route("/chaos/faults", get(faults::list).post(faults::arm).delete(faults::remove_all))
        .route("/chaos/faults/{id}", delete(faults::remove))
        .route("/chaos/scenarios", get(scenarios::list))
        .route("/chaos/experiments", get(experiments::list).post(start::start))
        .route("/chaos/experiments/{id}", get(experiments::one).delete(experiments::abort))
        .route("/chaos/experiments/{id}/journal", get(experiments::journal))
        .route("/chaos/experiments/{id}/report", get(report::report))
        .route("/chaos/monkey", get(monkey::state).post(monkey::start).delete(monkey::stop))
        .route("/chaos/monkey/journal", get(monkey::journal))
        .route("/chaos/annotations", get(annotations::annotations))
}
