//! The fields of a game day.

use crate::scenario::table::{Field, Need, Table, Takes};
use Need::{Optional, Required};
use Takes::{Count, Identifier, Tables, Text};

const fn field(name: &'static str, takes: Takes, need: Need, about: &'static str) -> Field {
    Field { name, takes, need, about }
}

/// A whole file.
pub(super) const FILE: Table = Table {
    about: "A game day: experiments one after the other, with pauses for people.",
    variants: None,
    fields: &[
        field("game_day", Takes::Table(&GAME_DAY), Required("[game_day]"), GAME_DAY.about),
        field("act", Tables(&ACT), Required("[[act]]"), ACT.about),
    ],
};

pub(super) const GAME_DAY: Table = Table {
    about: "The purpose of the game day, and the person who leads it.",
    variants: None,
    fields: &[
        field("version", Count { min: 1, max: 1 }, Required("1"), "Version of this format."),
        field(
            "name",
            Identifier,
            Required("\"payments-november\""),
            "Name of the game day, also used for the names of its reports.",
        ),
        field(
            "title",
            Text,
            Required("\"Game day of the payments team\""),
            "Heading of the agenda and of the report.",
        ),
        field("lead", Text, Required("\"Ada\""), "The person who leads it and can stop it."),
        field("briefing", Text, Optional, "Facts that all participants must know before it begins."),
    ],
};

pub(super) const ACT: Table = Table {
    about: "An experiment of the game day.",
    variants: None,
    fields: &[
        field(
            "scenario",
            Text,
            Required("\"dependency-down\""),
            "Name of a shipped scenario, or path of a scenario file, relative to this file.",
        ),
        field("title", Text, Optional, "Heading of the act. By default, the name of the scenario."),
        field("watch", Text, Optional, "The displays and people to watch during the act."),
        field("debrief", Text, Optional, "A question after the act. The answers are notes in its journal."),
    ],
};
