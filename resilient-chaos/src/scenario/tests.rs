use std::path::Path;

use super::*;

/// A valid scenario.
const GOOD: &str = r#"
[scenario]
version = 1
name = "outage"
hypothesis = "Orders are accepted while the gateway is down."
owner = "team-pay"
environment = ["staging", "game-*"]

[[steady_state]]
probe = "success_rate"
operation = "order"
min = "99%"

[[step]]
id = "ramp"
fault = { type = "latency", on = "charge", add = "300ms" }
rate = { from = 0.01, to = 0.2, over = "60s" }
for = "2m"

[[step]]
id = "outage"
after = "ramp"
delay = "5s"
fault = { type = "error", on = "charge" }
rate = 1
for = "30s"

[[expect]]
expect = "breaker"
of = "outage"
breaker = "payment"
within = "10s"

[recovery]
steady_state_within = "30s"
"#;

/// Returns the problems after a replacement in the valid scenario.
fn problems(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    Scenario::parse(&GOOD.replacen(from, to, 1)).expect_err(to).to_string()
}

#[test]
fn a_valid_scenario_is_read_with_its_defaults() {
    let scenario = Scenario::parse(GOOD).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.max_duration, Duration::from_mins(10));
    assert_eq!(scenario.step("outage").unwrap().start, Duration::from_secs(125));
    assert_eq!(scenario.end_of_steps(), Duration::from_secs(155));
    assert_eq!(scenario.abort_when[0].probe.id, "any critical alert");
    assert_eq!(scenario.steady_state[0].probe.id, "success rate of order");
    assert!((scenario.steps[0].rate.at(Duration::from_secs(30)) - 0.105).abs() < 1e-9);
}

#[test]
fn a_rule_for_an_alert_replaces_the_default_rule() {
    let own = format!("{GOOD}[[abort_when]]\nprobe = \"alert\"\nalert = \"orders_failing\"\nfor = \"5s\"\n");
    let scenario = Scenario::parse(&own).unwrap();
    assert_eq!(scenario.abort_when.len(), 1);
    assert_eq!(scenario.abort_when[0].debounce, Duration::from_secs(5));
    let other = format!("{GOOD}[[abort_when]]\nprobe = \"success_rate\"\nmin = 0.5\n");
    assert_eq!(Scenario::parse(&other).unwrap().abort_when.len(), 2);
}

#[test]
fn each_mistake_is_refused_at_its_place_with_the_remedy() {
    for (from, to, expected) in [
        ("owner = ", "ownr = ", "scenario:6:1: unknown field `ownr`; did you mean `owner`?"),
        ("version = 1", "version = 2", "scenario:3:11: `version` = 2 is refused: expected 1"),
        (
            "name = \"outage\"",
            "name = \"a/b\"",
            "scenario:4:8: `name` = \"a/b\" is refused: expected 1 to 64 of a-z",
        ),
        ("[\"staging\", \"game-*\"]", "[]", "`environment` is empty"),
        ("probe = \"success_rate\"", "probe = \"succes_rate\"", "did you mean `success_rate`?"),
        (
            "min = \"99%\"",
            "max = 0.5",
            "`max` does not exist with `probe = \"success_rate\"`, only with `probe = \"degraded_rate\"`",
        ),
        ("min = \"99%\"", "min = 0", "the probe answers nothing: `min` = 0 always holds"),
        ("min = \"99%\"", "min = 1.5", "`min` = 1.5 is refused: expected a share"),
        ("over = \"60s\"", "over = \"5m\"", "the ramp takes 5 min, but the step ends after 2 min"),
        ("from = 0.01, to = 0.2", "from = 0.2, to = 0.2", "the ramp stays at 20 %: write `rate = 0.2`"),
        ("from = 0.01, ", "", "`from` is missing"),
        ("rate = 1\n", "rate = 0\n", "`rate` = 0 hits no call"),
        ("rate = 1\n", "", "`rate` is missing: Share of the calls that are hit. For example: `rate = 0.1`"),
        (
            "for = \"30s\"\n",
            "",
            "`for` is missing: Duration of the step. Every fault needs an end. For example: `for = \"30s\"`",
        ),
        (
            "for = \"30s\"",
            "for = \"0s\"",
            "`for` = \"0s\" is refused: expected a duration from 100 ms to 24 h",
        ),
        ("for = \"30s\"", "for = 30", "`for` = 30 has no unit: write `for = \"30s\"`"),
        ("for = \"30s\"", "for = \"8760h\"", "`for` = \"8760h\" is refused"),
        (
            "for = \"30s\"",
            "for = \"20m\"",
            "step `outage` ends after 22 min 5 s, later than `max_duration` = 10 min",
        ),
        ("after = \"ramp\"", "after = \"rmap\"", "there is no step `rmap`; did you mean `ramp`?"),
        ("after = \"ramp\"", "after = \"outage\"", "step `outage` never starts"),
        ("after = \"ramp\"\n", "", "`delay` needs `after`"),
        ("after = \"ramp\"", "after = \"ramp\"\nat = \"1s\"", "`at` and `after` contradict each other"),
        ("id = \"outage\"", "id = \"ramp\"", "two steps have the id `ramp`"),
        (
            "on = \"charge\" }\nrate = 1",
            "on = \"charge\", ttl = \"1m\" }\nrate = 1",
            "the fault must not have `ttl`: the step gives it by `for`",
        ),
        ("of = \"outage\"", "of = \"otage\"", "there is no step `otage`; did you mean `outage`?"),
        (
            "within = \"10s\"",
            "within = \"9m\"",
            "`within` ends 11 min 5 s after the start, later than `max_duration`",
        ),
        (
            "[recovery]",
            "[blast_radius]\nmax_percent = 50\n[recovery]",
            "`rate` reaches 100 %, more than `blast_radius.max_percent` = 50 %",
        ),
        (
            "[recovery]",
            "[blast_radius]\nexclude = [\"ch*\"]\n[recovery]",
            "the fault targets `charge`, which `blast_radius.exclude` protects by `ch*`",
        ),
        (
            "[recovery]",
            "[[steady_state]]\nprobe = \"metric\"\nmetric = \"a\"\n[recovery]",
            "the probe answers nothing: it has no limit",
        ),
        (
            "[recovery]",
            "[[steady_state]]\nprobe = \"custom\"\nname = \"a\"\nmin = 2\nmax = 1\n[recovery]",
            "the probe never holds",
        ),
        (
            "[recovery]",
            "[[steady_state]]\nprobe = \"http\"\nurl = \"https://a\"\n[recovery]",
            "a probe has no TLS",
        ),
        (
            "[recovery]",
            "[[steady_state]]\nprobe = \"success_rate\"\noperation = \"order\"\nmin = 0.5\n[recovery]",
            "two `[[steady_state]]` have the id",
        ),
        ("[[step]]\nid = \"ramp\"", "[step]\nid = \"ramp\"", "duplicate key"),
        ("[recovery]\nsteady_state_within = \"30s\"\n", "", "scenario: `recovery` is missing"),
        ("min = \"99%\"", "min = ", "scenario:12:"),
    ] {
        let error = problems(from, to);
        assert!(error.contains(expected), "{to}: {expected}\n{error}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replace("owner", "ownr")
        .replace("rate = 1\n", "rate = 7\n")
        .replace("within = \"10s\"", "within = 10");
    let error = Scenario::parse(&text).unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 4, "{error}");
    assert!(lines.is_sorted());
}

#[test]
fn rates_of_steps_that_overlap_are_added() {
    let text = GOOD
        .replace("to = 0.2", "to = 0.4")
        .replace("after = \"ramp\"\ndelay = \"5s\"", "at = \"1m\"")
        .replace("rate = 1\n", "rate = 0.2\n")
        + "[blast_radius]\nmax_percent = 50\n";
    let error = Scenario::parse(&text).unwrap_err().to_string();
    assert!(
        error.contains("step `outage` overlaps `ramp` on the same target: together they hit 60 %"),
        "{error}"
    );
}

#[test]
fn no_input_panics() {
    for end in (0..GOOD.len()).filter(|end| GOOD.is_char_boundary(*end)) {
        let _ = Scenario::parse(&GOOD[..end]);
        let _ = Scenario::parse(&GOOD[end..]);
    }
    for odd in [
        "step = 1",
        "[[step]]\nrate = []",
        "scenario = []",
        "[scenario]\nseed = 99999999999999999999",
        "a = nan",
        "\u{feff}",
        "[[step]]\nfor = \"1µ\"",
    ] {
        assert!(Scenario::parse(odd).is_err(), "{odd}");
    }
}

#[test]
fn the_defaults_in_the_tables_are_valid() {
    fn check(table: &'static table::Table) {
        let variants = table.variants.map_or(&[][..], |(_, variants)| variants);
        for field in table.fields.iter().chain(variants.iter().flat_map(|variant| variant.fields)) {
            match &field.takes {
                table::Takes::Table(inner) | table::Takes::Tables(inner) | table::Takes::Rate(inner) => {
                    check(inner);
                }
                _ => {}
            }
            if let table::Need::Default(written) = field.need {
                assert!(read::is_valid(field, written), "{} = {written}", field.name);
                assert!(serde_json::from_str::<serde_json::Value>(written).is_ok(), "{written} is also JSON");
            }
        }
    }
    check(&fields::FILE);
}

/// Compares a generated file with the repository, or writes it with `SCENARIO=overwrite`.
fn compare(path: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SCENARIO").is_some_and(|value| value == "overwrite") {
        std::fs::write(&path, content).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    assert_eq!(written, content, "{path}: run `SCENARIO=overwrite cargo test -p resilient-chaos scenario`");
}

#[test]
fn the_schema_in_the_repository_is_current() {
    compare("scenario.schema.json", &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

#[test]
fn the_reference_in_the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario-reference.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, _) =
        page.split_once("<!-- generated -->\n").expect("the page has the mark `<!-- generated -->`");
    compare("../docs/scenario-reference.md", &format!("{before}<!-- generated -->\n\n{}", reference()));
}

#[test]
fn every_shipped_scenario_is_valid_and_has_the_name_of_its_file() {
    for shipped in Shipped::all() {
        let scenario =
            Scenario::parse(shipped.text).unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
        assert_eq!(scenario.name, shipped.name);
        assert!(!scenario.expectations.is_empty(), "{}", shipped.name);
    }
}

#[test]
fn excluded_operations_are_not_hit_through_a_group_or_component() {
    for target in ["group = \"payments\"", "component = { kind = \"bulkhead\", name = \"gateway\" }"] {
        let text = GOOD.replace("on = \"charge\"", target);
        assert!(Scenario::parse(&text).is_ok());
        let text = text.replace("[recovery]", "[blast_radius]\nexclude = [\"refund\"]\n[recovery]");
        let problems = Scenario::parse(&text).expect_err(target).to_string();
        assert!(problems.contains("`blast_radius.exclude` could not protect an operation"), "{problems}");
    }
}

#[test]
fn a_rate_that_the_fault_does_not_accept_is_a_problem_of_the_scenario() {
    let skew =
        |text: &str| text.replace("type = \"error\", on = \"charge\"", "type = \"skew_clock\", speed = 2.0");
    assert!(Scenario::parse(&skew(GOOD)).is_ok(), "rate = 1");
    let problems =
        Scenario::parse(&skew(&GOOD.replace("rate = 1\n", "rate = 0.5\n"))).unwrap_err().to_string();
    assert!(problems.contains("`rate` does not apply to `skew_clock`"), "{problems}");
}
