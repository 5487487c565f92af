//! The fields of a scenario. The reader, the JSON schema and the reference use these tables.

use super::table::{Field, Need, Table, Takes, Variant};
use Need::{Default, Optional, Required};
use Takes::{Count, Fault, Flag, Identifier, Labels, Number, Rate, Share, Span, Tables, Text, Texts, Words};

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

const fn field(name: &'static str, takes: Takes, need: Need, about: &'static str) -> Field {
    Field { name, takes, need, about }
}

/// A whole file.
pub(crate) const FILE: Table = Table {
    about: "A chaos experiment: what must hold, which faults are injected, and what is expected of the resilience.",
    variants: None,
    fields: &[
        field("scenario", Takes::Table(&SCENARIO), Required("[scenario]"), SCENARIO.about),
        field("steady_state", Tables(&STEADY_STATE), Required("[[steady_state]]"), STEADY_STATE.about),
        field("abort_when", Tables(&ABORT_WHEN), Optional, ABORT_WHEN.about),
        field("blast_radius", Takes::Table(&BLAST_RADIUS), Optional, BLAST_RADIUS.about),
        field("step", Tables(&STEP), Required("[[step]]"), STEP.about),
        field("expect", Tables(&EXPECT), Optional, EXPECT.about),
        field("recovery", Takes::Table(&RECOVERY), Required("[recovery]"), RECOVERY.about),
    ],
};

const SCENARIO: Table = Table {
    about: "The name of the experiment, its environments and its limits.",
    variants: None,
    fields: &[
        field("version", Count { min: 1, max: 1 }, Required("1"), "Version of this format."),
        field(
            "name",
            Identifier,
            Required("\"gateway-down\""),
            "Name of the experiment, also used for the names of its reports.",
        ),
        field(
            "hypothesis",
            Text,
            Required("\"..\""),
            "The statement that the experiment shall confirm, as a sentence.",
        ),
        field("owner", Text, Required("\"team-pay\""), "The team or person to ask about it."),
        field(
            "environment",
            Texts,
            Required("[\"staging\"]"),
            "Environments in which it may run. `*` stands for any characters. The runner refuses to start elsewhere.",
        ),
        field(
            "seed",
            Count { min: 0, max: i64::MAX as u64 },
            Default("0"),
            "Decides which calls a fault hits. With the same seed, the same calls are hit in each run.",
        ),
        field(
            "max_duration",
            Span { min: SECOND, max: DAY },
            Default("\"10m\""),
            "The experiment is aborted if its steps and expectations take longer.",
        ),
        field(
            "interval",
            Span { min: 10, max: 10 * SECOND },
            Default("\"100ms\""),
            "Time between two checks. A fault whose lease was not renewed for two intervals ends by itself.",
        ),
        field(
            "observe_before",
            Span { min: 0, max: HOUR },
            Default("\"5s\""),
            "Time for which the steady state is observed before the first fault. It must be long enough for `min_samples` of each probe.",
        ),
        field(
            "on_deviation",
            Words(&["stop", "continue"]),
            Default("\"stop\""),
            "Whether a failed steady state or expectation stops the experiment, or is only recorded.",
        ),
        field(
            "abort_on_critical_alert",
            Flag,
            Default("true"),
            "Whether any critical alert aborts the experiment. It has no effect if `abort_when` has a rule for alerts.",
        ),
    ],
};

const PROBE_ID: Field =
    field("id", Text, Optional, "Name in the report. By default, it is made of the probe and its target.");
const OPERATION: Field =
    field("operation", Text, Optional, "Name of an operation. By default, all operations together.");
const WINDOW: Field =
    field("window", Span { min: 100, max: HOUR }, Default("\"5s\""), "Time over which calls are counted.");
const MIN_SAMPLES: Field = field(
    "min_samples",
    Count { min: 1, max: 1_000_000 },
    Default("10"),
    "With fewer calls in the window, the probe has no value. Without a value it does not fail during the steps, but the experiment does not start.",
);
const SEVERITY: Field = field(
    "severity",
    Words(&["warning", "critical"]),
    Default("\"critical\""),
    "The lowest severity that counts as firing.",
);
const ANY: Takes = Takes::AnyNumber;
const MIN: Field = field("min", ANY, Optional, "Smallest value that is accepted.");
const MAX: Field = field("max", ANY, Optional, "Largest value that is accepted.");

/// The probes of the steady state and of abort rules.
pub(crate) const PROBES: &[Variant] = &[
    Variant {
        word: "success_rate",
        about: "Share of calls that return a result to their caller, from the function or from a fallback. Cancelled calls do not count.",
        fields: &[
            OPERATION,
            field("min", Share, Required("0.99"), "Smallest share that is accepted."),
            WINDOW,
            MIN_SAMPLES,
        ],
    },
    Variant {
        word: "degraded_rate",
        about: "Share of calls that a fallback serves.",
        fields: &[
            OPERATION,
            field("max", Share, Required("0.05"), "Largest share that is accepted."),
            WINDOW,
            MIN_SAMPLES,
        ],
    },
    Variant {
        word: "latency",
        about: "A percentile of the duration of calls that return a result. It is interpolated between the bounds of the histogram `resilient_call_duration_seconds`, and exact at these bounds.",
        fields: &[
            OPERATION,
            field(
                "quantile",
                Number { min: 0.01, max: 0.9999 },
                Default("0.99"),
                "Which percentile, for example 0.5 for the median.",
            ),
            field(
                "max",
                Span { min: 1, max: HOUR },
                Required("\"500ms\""),
                "Longest duration that is accepted.",
            ),
            WINDOW,
            MIN_SAMPLES,
        ],
    },
    Variant {
        word: "health",
        about: "The result of a health check.",
        fields: &[
            field(
                "check",
                Text,
                Optional,
                "Name of a health check. By default, the worst result of all checks.",
            ),
            field("worst", Words(&["pass", "warn"]), Default("\"pass\""), "Worst result that is accepted."),
        ],
    },
    Variant {
        word: "alert",
        about: "Holds while an alert does not fire.",
        fields: &[field("alert", Text, Optional, "Name of an alert. By default, any alert."), SEVERITY],
    },
    Variant {
        word: "metric",
        about: "A counter or gauge of the registry. Needs `min`, `max` or both.",
        fields: &[
            field("metric", Text, Required("\"resilient_bulkhead_in_use\""), "Name of the metric."),
            field(
                "labels",
                Labels,
                Optional,
                "Only samples with these labels. The values of all remaining samples are added.",
            ),
            field(
                "mode",
                Words(&["value", "rate"]),
                Default("\"value\""),
                "The value, or its increase per second over `window`.",
            ),
            MIN,
            MAX,
            WINDOW,
        ],
    },
    Variant {
        word: "http",
        about: "The status of an HTTP GET.",
        fields: &[
            field(
                "url",
                Text,
                Required("\"http://127.0.0.1:3000/health\""),
                "Address. Only `http://` is supported.",
            ),
            field("status", Count { min: 100, max: 599 }, Default("200"), "Status that is expected."),
            field(
                "timeout",
                Span { min: 10, max: 60 * SECOND },
                Default("\"1s\""),
                "A response that takes longer counts as failed.",
            ),
            field("every", Span { min: 100, max: HOUR }, Default("\"1s\""), "Time between two requests."),
        ],
    },
    Variant {
        word: "custom",
        about: "A value from a function that the program registers with `Runner::probe`. Needs `min`, `max` or both.",
        fields: &[
            field("name", Text, Required("\"queue_length\""), "Name under which the function is registered."),
            MIN,
            MAX,
        ],
    },
];

const STEADY_STATE: Table = Table {
    about: "A condition that must hold before the first fault, while faults are injected, and again after the last one.",
    variants: Some(("probe", PROBES)),
    fields: &[
        field(
            "probe",
            Words(&[
                "success_rate",
                "degraded_rate",
                "latency",
                "health",
                "alert",
                "metric",
                "http",
                "custom",
            ]),
            Required("\"success_rate\""),
            "The measurement. It decides which further fields exist.",
        ),
        PROBE_ID,
        field(
            "when",
            Words(&["always", "edges", "during"]),
            Default("\"always\""),
            "`always`: before, during and after the steps. `edges`: only before and after. `during`: only during the steps.",
        ),
        field(
            "for",
            Span { min: 0, max: HOUR },
            Default("\"0s\""),
            "During the steps, the probe must fail for this time without a break before it counts as a deviation.",
        ),
        field("weight", Count { min: 1, max: 100 }, Default("1"), "Weight in the score."),
    ],
};

const ABORT_WHEN: Table = Table {
    about: "Aborts the experiment and removes all of its faults when the probe does not hold.",
    variants: Some(("probe", PROBES)),
    fields: &[
        field(
            "probe",
            Words(&[
                "success_rate",
                "degraded_rate",
                "latency",
                "health",
                "alert",
                "metric",
                "http",
                "custom",
            ]),
            Required("\"alert\""),
            "The measurement. It decides which further fields exist.",
        ),
        PROBE_ID,
        field(
            "for",
            Span { min: 0, max: HOUR },
            Default("\"0s\""),
            "The probe must fail for this time without a break.",
        ),
    ],
};

const BLAST_RADIUS: Table = Table {
    about: "Limits of all steps together.",
    variants: None,
    fields: &[
        field(
            "max_percent",
            Number { min: 0.01, max: 100.0 },
            Default("100"),
            "Largest share of the calls of one target that may be hit, in percent. The rates of steps that overlap on one target are added.",
        ),
        field(
            "max_active",
            Count { min: 1, max: 1_000_000 },
            Optional,
            "Largest number of calls that one fault may hold at the same time.",
        ),
        field(
            "exclude",
            Texts,
            Optional,
            "Operations that no step may target. `*` stands for any characters. A fault of calls then needs `on`.",
        ),
    ],
};

/// A rate that grows or shrinks.
pub(crate) const RAMP: Table = Table {
    about: "A rate that changes evenly.",
    variants: None,
    fields: &[
        field("from", Share, Required("0.01"), "Rate at the start of the step."),
        field("to", Share, Required("0.2"), "Rate at the end of the ramp, and until the step ends."),
        field(
            "over",
            Span { min: 100, max: DAY },
            Required("\"60s\""),
            "Duration of the ramp. At most the `for` of the step.",
        ),
    ],
};

const STEP: Table = Table {
    about: "A fault that is injected for a time.",
    variants: None,
    fields: &[
        field(
            "id",
            Identifier,
            Required("\"outage\""),
            "Name of the step. Other steps and expectations refer to it.",
        ),
        field(
            "at",
            Span { min: 0, max: DAY },
            Optional,
            "Start, from the start of the first step. By default, or with `after`, the step starts at once.",
        ),
        field(
            "after",
            Identifier,
            Optional,
            "Starts when the step with this id ends. Not together with `at`.",
        ),
        field(
            "delay",
            Span { min: 0, max: DAY },
            Optional,
            "Pause after the end of the step that `after` names.",
        ),
        field(
            "fault",
            Fault,
            Required("{ type = \"error\", on = \"charge\" }"),
            "The fault, without a share and without a time to live: `rate` and `for` give them.",
        ),
        field("rate", Rate(&RAMP), Required("0.1"), "Share of the calls that are hit."),
        field(
            "for",
            Span { min: 100, max: DAY },
            Required("\"30s\""),
            "Duration of the step. Every fault needs an end.",
        ),
    ],
};

const WITHIN: Field = field(
    "within",
    Span { min: 0, max: DAY },
    Required("\"10s\""),
    "Latest time, from the start of the step.",
);

const EXPECT: Table = Table {
    about: "A requirement for the resilience of the program while a step runs.",
    variants: Some((
        "expect",
        &[
            Variant {
                word: "breaker",
                about: "A circuit breaker reaches a state.",
                fields: &[
                    field("breaker", Text, Required("\"payment\""), "Name of the circuit breaker."),
                    field(
                        "state",
                        Words(&["open", "half_open", "closed"]),
                        Default("\"open\""),
                        "The state.",
                    ),
                    WITHIN,
                ],
            },
            Variant {
                word: "fallback",
                about: "No call is served by a fallback level farther from the real result than this one.",
                fields: &[
                    field(
                        "fallback",
                        Text,
                        Required("\"charge\""),
                        "Name of the fallback. The attribute uses the name of the operation.",
                    ),
                    field(
                        "at_most",
                        Words(&["replica", "distributed_cache", "local_cache", "backup", "default"]),
                        Required("\"local_cache\""),
                        "The farthest level that is accepted.",
                    ),
                ],
            },
            Variant {
                word: "no_errors",
                about: "Callers see no error, or at most a share of errors.",
                fields: &[
                    field("operation", Text, Required("\"order\""), "Name of the operation."),
                    field(
                        "at_most",
                        Share,
                        Default("0"),
                        "Largest accepted share of calls that return an error, a rejection or a timeout, or that panic.",
                    ),
                ],
            },
            Variant {
                word: "retries",
                about: "Retries do not multiply the load.",
                fields: &[
                    field("retry", Text, Required("\"payment\""), "Name of the retry."),
                    field("operation", Text, Required("\"charge\""), "Operation whose calls are counted."),
                    field(
                        "at_most",
                        Number { min: 0.0, max: 100.0 },
                        Required("0.2"),
                        "Largest accepted number of retries per call.",
                    ),
                ],
            },
            Variant {
                word: "alert",
                about: "An alert fires.",
                fields: &[
                    field("alert", Text, Required("\"orders_failing\""), "Name of the alert."),
                    SEVERITY,
                    WITHIN,
                ],
            },
        ],
    )),
    fields: &[
        field(
            "expect",
            Words(&["breaker", "fallback", "no_errors", "retries", "alert"]),
            Required("\"breaker\""),
            "The requirement. It decides which further fields exist.",
        ),
        field("of", Identifier, Required("\"outage\""), "Id of the step."),
        field("id", Text, Optional, "Name in the report. By default, it is made of the other fields."),
        field("weight", Count { min: 1, max: 100 }, Default("1"), "Weight in the score."),
    ],
};

const RECOVERY: Table = Table {
    about: "How fast the steady state must return after the last fault.",
    variants: None,
    fields: &[
        field(
            "steady_state_within",
            Span { min: 100, max: DAY },
            Required("\"30s\""),
            "Longest accepted recovery time.",
        ),
        field(
            "hold",
            Span { min: 0, max: HOUR },
            Default("\"2s\""),
            "The steady state must hold for this time without a break. The recovery ends at the start of this time.",
        ),
        field("weight", Count { min: 1, max: 100 }, Default("1"), "Weight in the score."),
    ],
};
