//! Invalid files and variables: each problem has its place and remedy, and none panics.

use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> Vec<String> {
    let (_folder, file) = file(text);
    match file.apply(&registry()) {
        Ok(_) => Vec::new(),
        Err(error) => error
            .to_string()
            .lines()
            .map(|line| {
                let (_, after) = line.split_once("resilient.toml").unwrap();
                after.to_owned()
            })
            .collect(),
    }
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    // T126
    let text = r#"
[circut_breaker.payment]
open_for = "1s"
[circuit_breaker.payment]
open_fro = "1s"
open_for = 5
  failure_rate = 1.5
[bulkhead]
max_concurrent = 3
[rate_limit.api]
rate = "fast"
[retry.x]
backoff = "exponental"
when = { a = 1 }
"#;
    let faults = faults(text);
    let expected = [
        (":2:2: ", "did you mean `circuit_breaker`?"),
        (":5:1: ", "did you mean `open_for`?"),
        (":6:1: ", "a duration with a unit"),
        (":7:3: ", "a number from 0 to 1"),
        (":9:1: ", "must be in the table of a component"),
        (":11:1: ", "100/s"),
        (":13:1: ", "did you mean `exponential`?"),
        (":14:10: ", "unknown setting `when_a`"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, (place, what)) in faults.iter().zip(expected) {
        assert!(fault.starts_with(place) && fault.contains(what), "{fault} is not {place}{what}");
    }
}

#[test]
fn contradictions_are_reported_with_their_places() {
    // T127
    let text = "[timeout.a]\ntotal = \"1s\"\nattempt = \"2s\"\n[circuit_breaker.b]\nopen_max = \"1s\"\nopen_for = \"2s\"\n";
    let faults = faults(text);
    assert!(faults.iter().any(|fault| fault.starts_with(":3:11: timeout `a`: `attempt`")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("circuit_breaker `b`")), "{faults:?}");
    let with_default = "[timeout.default]\nattempt = \"2s\"\n[timeout.a]\ntotal = \"1s\"\n";
    assert_eq!(super::faults::faults(with_default).len(), 1, "also in combination with inherited settings");
}

#[test]
fn variables_are_checked_like_the_file() {
    let (_folder, file) = file("# nothing");
    let refused = |name: &str, value: &str| {
        file.clone().variables([(name, value)]).apply(&registry()).unwrap_err().to_string()
    };
    let kind = refused("RESILIENT__CIRCUT_BREAKER__A__OPEN_FOR", "1s");
    assert!(kind.contains("did you mean `CIRCUIT_BREAKER`?"), "{kind}");
    assert!(refused("RESILIENT__CIRCUIT_BREAKER__A__OPEN_FRO", "1s").contains("did you mean `open_for`?"));
    assert!(refused("RESILIENT__CIRCUIT_BREAKER__A__OPEN_FOR", "1").contains("unit"));
    assert!(refused("RESILIENT__NONSENSE", "1").contains("kind, name and setting"));
    let registry = registry();
    let all = [("X__BULKHEAD__DEFAULT__MAX_CONCURRENT", "3"), ("RESILIENT__NONSENSE", "1")];
    file.prefix("X").variables(all).apply(&registry).unwrap();
    assert_eq!(registry.bulkhead("any").stats().limit, 3);
}

#[test]
fn unreadable_files_are_refused_with_the_reason() {
    let folder = Folder::new();
    let refused = |path: &std::path::Path| {
        ConfigFile::new(path).variables(NONE).apply(&registry()).unwrap_err().to_string()
    };
    assert!(refused(&folder.0).contains("is a directory"));
    assert!(refused(&folder.0.join("missing.toml")).contains("cannot be read"));
    let binary = folder.write("binary.toml", b"[circuit_breaker.a]\n# \xff\xfe");
    assert!(refused(&binary).contains("binary.toml:2:3: is not UTF-8"), "{}", refused(&binary));
    let huge = folder.write("huge.toml", vec![b'#'; 50 * 1024 * 1024]);
    assert!(refused(&huge).contains("has 52428800 bytes; the maximum is 1048576"), "{}", refused(&huge));
    #[cfg(unix)]
    {
        let dangling = folder.0.join("dangling.toml");
        std::os::unix::fs::symlink(folder.0.join("nowhere"), &dangling).unwrap();
        assert!(refused(&dangling).contains("cannot be read"));
        let socket = folder.0.join("socket");
        let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(refused(&socket).contains("is a pipe or a socket"), "{}", refused(&socket));
        assert!(refused(std::path::Path::new("/dev/zero")).contains("larger than"), "a device has no length");
    }
    assert!(faults("a = ").first().unwrap().starts_with(":1:"));
    let twice = faults("[bulkhead.a]\nmax_concurrent = 1\nmax_concurrent = 2\n");
    assert!(twice[0].starts_with(":3:1: duplicate key"), "{twice:?}");
    assert!(!faults(&"[".repeat(100_000)).is_empty());
    assert!(!faults(&format!("x = {}1{}", "[".repeat(10_000), "]".repeat(10_000))).is_empty());
    assert!(faults(" \n")[0].starts_with(": is empty"), "it could be in the process of being written");
    assert!(faults("# nothing").is_empty());
}

#[test]
fn every_malformed_line_is_reported_with_all_other_problems() {
    let faults = faults("[bulkhead.a]\nmax_queue = \n[bulkhead.b\nmax_queue = 1\n[bulkhed.c]\n");
    let lines: Vec<_> = faults.iter().map(|fault| fault.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["2", "3", "5"], "{faults:#?}");
    assert!(faults[2].contains("did you mean `bulkhead`?"));
}

#[test]
fn inherited_settings_are_validated_on_their_own_and_reported_once() {
    // T127
    let text = "[bulkhead.default]\nmax_queue = 5\n[bulkhead.a]\nmax_concurrent = 3\n";
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with(":2:13: bulkhead `default`: `max_queue` = 5 is invalid: it needs `max_wait`")
    );
}

#[test]
fn contradictory_variables_are_reported_by_name() {
    // T127
    let (_folder, file) = file("# nothing");
    let refused = |variables: &[(&str, &str)]| {
        file.clone().variables(variables.iter().copied()).apply(&registry()).unwrap_err().to_string()
    };
    let none = refused(&[("RESILIENT__BULKHEAD__A__MAX_CONCURRENT", "0")]);
    assert!(none.starts_with("RESILIENT__BULKHEAD__A__MAX_CONCURRENT: bulkhead `A`: `max_concurrent` = 0"));
    let all = refused(&[("RESILIENT__BULKHEAD__DEFAULT__MAX_CONCURRENT", "0")]);
    assert!(all.starts_with("RESILIENT__BULKHEAD__DEFAULT__MAX_CONCURRENT: bulkhead `default`"), "{all}");
}

#[test]
fn an_ambiguous_variable_is_refused() {
    let (_folder, file) = file("[bulkhead.\"pay.ment\"]\nmax_concurrent = 3\n");
    let file = file.variables([("RESILIENT__BULKHEAD__PAY_MENT__MAX_CONCURRENT", "4")]);
    let registry = registry();
    file.apply(&registry).unwrap();
    assert_eq!(registry.bulkhead("pay.ment").stats().limit, 4);
    registry.bulkhead("Pay-ment");
    let error = file.apply(&registry).unwrap_err().to_string();
    let expected = "RESILIENT__BULKHEAD__PAY_MENT__MAX_CONCURRENT: ambiguous: refers to `Pay-ment` or `pay.ment`; set it in the file instead";
    assert_eq!(error, expected);
}

#[test]
fn groups_are_read_as_in_the_attribute() {
    let (_folder, file) =
        file("[retry.a]\nbudget = { ratio = 0.2, reserve = 1 }\n[bulkhead.b.reserve]\nhigh = 2\n");
    let registry = registry();
    file.apply(&registry).unwrap();
    let retry = registry.retry("a").config();
    assert_eq!((retry.budget_ratio.get(), retry.budget_reserve, &retry.budget), (0.2, 1.0, &None));
    assert_eq!(registry.bulkhead("b").config().reserve_high, 2);

    let wrong = [
        ("[retry.a]\nbudget = { ration = 0.2 }", ":2:12: ", "did you mean `budget_ratio`?"),
        ("[retry.a]\nbudget_ratio = 1\nbudget = { ratio = 0.2 }", ":2:", "is specified twice"),
        ("[retry.a]\nbudget = { ratio = { a = 1 } }", ":2:20: ", "groups cannot be nested"),
        ("[retry.a]\nbudget = {}", ":2:10: ", "the group is empty"),
    ];
    for (text, place, what) in wrong {
        let faults = faults(text);
        assert!(faults.iter().any(|fault| fault.starts_with(place) && fault.contains(what)), "{faults:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "(\\[(circuit_breaker|bulkhead|x)\\.?[a-z]{0,3}\\]\n|[a-z_]{1,9} ?= ?[\"0-9a-z.%-]{0,6}\n|.{0,5}){0,8}") {
        let _ = faults(&text);
    }
}
