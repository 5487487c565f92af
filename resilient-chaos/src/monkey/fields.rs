//! The fields of the settings of the chaos monkey.

use crate::scenario::table::{Field, Need, Table, Takes};
use Need::{Default, Required};
use Takes::{Count, Fault, Identifier, Share, Span, Tables, Text, Texts, Time};

const fn field(name: &'static str, takes: Takes, need: Need, about: &'static str) -> Field {
    Field { name, takes, need, about }
}

/// A whole file.
pub(super) const FILE: Table = Table {
    about: "Settings of the chaos monkey.",
    variants: None,
    fields: &[
        field("monkey", Takes::Table(&MONKEY), Required("[monkey]"), MONKEY.about),
        field("fault", Tables(&FAULT), Required("[[fault]]"), FAULT.about),
    ],
};

pub(super) const MONKEY: Table = Table {
    about: "When and how often the monkey injects faults.",
    variants: None,
    fields: &[
        field("version", Count { min: 1, max: 1 }, Required("1"), "Version of this format."),
        field("name", Identifier, Required("\"staging-monkey\""), "Name of the monkey."),
        field("owner", Text, Required("\"team-pay\""), "The team or person to ask about it."),
        field(
            "environment",
            Texts,
            Required("[\"staging\"]"),
            "Environments in which it may run. `*` stands for any characters.",
        ),
        field(
            "seed",
            Count { min: 0, max: i64::MAX as u64 },
            Default("0"),
            "Decides when, and which faults. The same seed makes the same decisions.",
        ),
        field(
            "budget_per_hour",
            Count { min: 1, max: 60 },
            Default("2"),
            "Largest number of faults in any hour.",
        ),
        field(
            "time_zone",
            Text,
            Default("\"UTC\""),
            "Time zone of `from`, `to` and `days`, such as `Europe/Berlin`.",
        ),
        field("from", Time, Default("\"09:00\""), "Start of the business hours."),
        field(
            "to",
            Time,
            Default("\"17:00\""),
            "End of the business hours. A fault that would end later is not injected.",
        ),
        field(
            "days",
            Texts,
            Default("[\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]"),
            "Days on which faults are injected.",
        ),
    ],
};

pub(super) const FAULT: Table = Table {
    about: "A fault that the monkey may inject. It injects no other fault.",
    variants: None,
    fields: &[
        field("id", Identifier, Required("\"slow-gateway\""), "Name of the fault in the journal."),
        field(
            "group",
            Identifier,
            Default("\"default\""),
            "The monkey never injects two faults of one group at the same time.",
        ),
        field(
            "fault",
            Fault,
            Required("{ type = \"error\", on = \"charge\" }"),
            "The fault, without a share and without a time to live: `rate` and `for` give them.",
        ),
        field("rate", Share, Required("0.1"), "Share of the calls that are hit."),
        field("for", Span { min: 1000, max: 3_600_000 }, Required("\"1m\""), "Duration of the fault."),
        field(
            "weight",
            Count { min: 1, max: 100 },
            Default("1"),
            "How often it is chosen, compared with the others.",
        ),
    ],
};
