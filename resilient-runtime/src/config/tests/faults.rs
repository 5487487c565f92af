//! Everything that can be wrong, each with its place and the remedy, and no panic.

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
fn all_that_is_wrong_is_told_at_once_with_its_place() {
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
        (":7:3: ", "a share from 0 to 1"),
        (":9:1: ", "needs a name before it"),
        (":11:1: ", "100/s"),
        (":13:1: ", "exponential"),
        (":14:8: ", "one value"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, (place, what)) in faults.iter().zip(expected) {
        assert!(fault.starts_with(place) && fault.contains(what), "{fault} is not {place}{what}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_told_where_they_stand() {
    // T127
    let text = "[timeout.a]\ntotal = \"1s\"\nattempt = \"2s\"\n[circuit_breaker.b]\nopen_max = \"1s\"\nopen_for = \"2s\"\n";
    let faults = faults(text);
    assert!(faults.iter().any(|fault| fault.starts_with(":3:11: timeout `a`: `attempt`")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("circuit_breaker `b`")), "{faults:?}");
    let with_default = "[timeout.default]\nattempt = \"2s\"\n[timeout.a]\ntotal = \"1s\"\n";
    assert_eq!(super::faults::faults(with_default).len(), 1, "also together with what is inherited");
}

#[test]
fn variables_are_checked_like_the_file() {
    let (_folder, file) = file("");
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
fn files_that_are_none_are_refused_with_the_reason() {
    let folder = Folder::new();
    let refused = |path: &std::path::Path| {
        ConfigFile::new(path).variables(NONE).apply(&registry()).unwrap_err().to_string()
    };
    assert!(refused(&folder.0).contains("is a directory"));
    assert!(refused(&folder.0.join("missing.toml")).contains("cannot be read"));
    let binary = folder.write("binary.toml", b"[circuit_breaker.a]\n# \xff\xfe");
    assert!(refused(&binary).contains("binary.toml:2:3: is not UTF-8"), "{}", refused(&binary));
    let huge = folder.write("huge.toml", vec![b'#'; 50 * 1024 * 1024]);
    assert!(refused(&huge).contains("has 52428800 bytes; at most 1048576"), "{}", refused(&huge));
    #[cfg(unix)]
    {
        let dangling = folder.0.join("dangling.toml");
        std::os::unix::fs::symlink(folder.0.join("nowhere"), &dangling).unwrap();
        assert!(refused(&dangling).contains("cannot be read"));
        assert!(refused(std::path::Path::new("/dev/zero")).contains("larger than"), "a device has no length");
    }
    assert!(faults("a = ").first().unwrap().starts_with(":1:"));
    let twice = faults("[bulkhead.a]\nmax_queue = 1\nmax_queue = 2\n");
    assert!(twice[0].starts_with(":3:1: duplicate key"), "{twice:?}");
    assert!(!faults(&"[".repeat(100_000)).is_empty());
    assert!(!faults(&format!("x = {}1{}", "[".repeat(10_000), "]".repeat(10_000))).is_empty());
    assert!(faults("").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "(\\[(circuit_breaker|bulkhead|x)\\.?[a-z]{0,3}\\]\n|[a-z_]{1,9} ?= ?[\"0-9a-z.%-]{0,6}\n|.{0,5}){0,8}") {
        let _ = faults(&text);
    }
}
