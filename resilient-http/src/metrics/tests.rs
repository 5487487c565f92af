//! Tests that parse the exported text, and checks of the monitoring files.

use std::collections::BTreeSet;

use resilient_runtime::{Component, Kind, Registry};

use super::*;

fn full() -> Registry {
    let registry = Registry::new();
    registry.load_shedder("api");
    registry.idempotency("orders");
    let all = registry.pipeline("charge").circuit_breaker("payment").retry("payment").bulkhead("gateway");
    let pipeline = all.timeout("payment").rate_limit("api").build();
    assert!(pipeline.call(|| Some(1)).is_some());
    registry.fallback("payment");
    registry.hedge("h");
    registry.coalesce("c");
    registry.health("db");
    registry.alert("errors");
    registry.store("shared");
    // The metrics of a shared circuit exist if a store is set.
    let shared = resilient_runtime::circuit_breaker::Config::default().store("shared");
    registry.circuit_breaker("payment").reconfigure(shared).unwrap();
    registry
}

struct Family {
    name: String,
    kind: String,
    samples: usize,
}

/// Parses the families and their samples, and checks the grammar.
fn parse(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(seen.insert(name.to_owned()), "family {name} occurs twice");
            families.push(Family { name: name.to_owned(), kind: kind.to_owned(), samples: 0 });
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let family = families.last_mut().unwrap();
            let name = series.split('{').next().unwrap();
            let is_total = family.kind == "counter" && name.strip_suffix("_total") == Some(&family.name);
            let suffix = name.strip_prefix(&family.name);
            let is_series = matches!(suffix, Some("_bucket" | "_sum" | "_count"));
            let is_histogram = family.kind == "histogram" && is_series;
            let is_named = name == family.name && family.kind != "histogram";
            assert!(is_named || is_total || is_histogram, "{name} in {}", family.name);
            assert!(seen.insert(series.to_owned()), "series {series} occurs twice");
            family.samples += 1;
        }
    }
    families
}

#[test]
fn every_series_exists_from_the_start() {
    let text = render(&full(), Format::Text);
    let families = parse(&text);
    assert!(families.len() > 25, "{}", families.len());
    for Family { name, kind, samples } in &families {
        // The labels of injected faults are known only after the first fault.
        let is_of_chaos = name.starts_with("resilient_chaos_") && name.ends_with("injected_total");
        assert!(*samples > 0 || is_of_chaos, "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
    for series in [
        "resilient_calls_total{operation=\"charge\",outcome=\"success\"} 1",
        "resilient_circuit_breaker_state{name=\"payment\",state=\"closed\"} 1",
        "resilient_circuit_breaker_state{name=\"payment\",state=\"open\"} 0",
        "resilient_circuit_breaker_shared_state{name=\"payment\",state=\"unknown\"} 1",
        "resilient_fallback_total{name=\"payment\",level=\"default\"} 0",
        "resilient_health_status{check=\"db\",kind=\"readiness\",status=\"unknown\"} 1",
        "resilient_alert_state{alert=\"errors\",severity=\"critical\"} 0",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[test]
fn durations_are_a_histogram_that_can_be_added_up() {
    let time = resilient_runtime::clock::ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let pipeline = registry.pipeline("report").timeout("report").build();
    for millis in [3, 40, 40, 90_000] {
        pipeline.call(|| {
            time.advance(std::time::Duration::from_millis(millis));
            Some(())
        });
    }
    pipeline.call(|| None::<()>);
    let text = render(&registry, Format::Text);
    let labels = "operation=\"report\",outcome=\"success\"";
    for (bound, calls) in [("0.0025", 0), ("0.005", 1), ("0.05", 3), ("1", 3), ("60", 3), ("+Inf", 4)] {
        let bucket = format!("resilient_call_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {calls}\n");
        assert!(text.contains(&bucket), "{bucket} is not in\n{text}");
    }
    assert!(text.contains(&format!("resilient_call_duration_seconds_count{{{labels}}} 4\n")), "{text}");
    assert!(
        text.contains("resilient_call_duration_seconds_count{operation=\"report\",outcome=\"error\"} 1\n")
    );
    assert!(text.contains("# TYPE resilient_call_duration_seconds histogram\n"));
    let canonical = format!("resilient_call_duration_seconds_bucket{{le=\"60.0\",{labels}}} 3\n");
    let openmetrics = render(&registry, Format::OpenMetrics);
    assert!(openmetrics.contains(&canonical), "{openmetrics}");
    assert!(openmetrics.contains("# UNIT resilient_call_duration_seconds seconds\n"), "{openmetrics}");
}

#[test]
fn alerts_are_evaluated_before_they_are_exported() {
    use resilient_runtime::{alert, bulkhead};
    let registry = Registry::new();
    let gate = registry.bulkhead("gate");
    gate.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let full = alert::Config::default().signal(alert::Signal::Saturation).critical(0.9).min_samples(0);
    registry.alert("full").reconfigure(full.hold(std::time::Duration::ZERO)).unwrap();
    let critical =
        |state: u8| format!("resilient_alert_state{{alert=\"full\",severity=\"critical\"}} {state}\n");
    let permit = gate.try_acquire().unwrap();
    assert!(render(&registry, Format::Text).contains(&critical(1)));
    drop(permit);
    assert!(render(&registry, Format::Text).contains(&critical(0)));
}

#[test]
fn openmetrics_names_counter_families_without_total_and_ends_with_eof() {
    let text = render(&full(), Format::OpenMetrics);
    assert!(text.contains("# TYPE resilient_calls counter\n") && text.ends_with("\n# EOF\n"));
    let plain = render(&full(), Format::Text);
    let count = |text: &str| parse(text).iter().map(|family| family.samples).sum::<usize>();
    assert_eq!(count(&text), count(&plain));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1";
    assert_eq!(Format::accepted(Some(accept)), Format::OpenMetrics);
    assert_eq!(Format::accepted(None), Format::Text);
}

#[test]
fn hostile_names_cannot_forge_a_line() {
    let registry = Registry::new();
    registry.bulkhead("a\"} 1\\ b");
    let text = render(&registry, Format::Text);
    assert!(text.contains(r#"resilient_bulkhead_limit{name="a\"} 1\\ b"} 64"#), "{text}");
}

#[test]
fn the_number_of_exported_names_is_limited() {
    let registry = Registry::new();
    for number in 0..1500 {
        registry.bulkhead(&format!("b{number}"));
    }
    let text = render(&registry, Format::Text);
    assert_eq!(text.matches("resilient_bulkhead_limit{").count(), 1024);
    assert!(text.contains("resilient_names_left_out{kind=\"bulkhead\"} 476\n"));
    // Kinds without metrics by name.
    let without_names = [Kind::RetryBudget, Kind::ConfigSource];
    let with_names = Kind::all().filter(|kind| !without_names.contains(kind)).map(Kind::as_str);
    for kind in with_names.chain(["operation"]) {
        assert!(text.contains(&format!("resilient_names_left_out{{kind=\"{kind}\"}} ")), "{kind}");
    }
    assert_eq!(registry.names().iter().find(|(kind, _)| *kind == Kind::Bulkhead).unwrap().1.len(), 1500);
}

#[test]
fn the_prometheus_rules_have_the_burn_rates_of_the_alert_component() {
    let rules = include_str!("../../monitoring/prometheus-rules.yml");
    // The same as documented for `resilient_runtime::alert::Signal::BurnRate`.
    for (factor, long, short, severity) in
        [("14.4", "1h", "5m", "critical"), ("6", "6h", "30m", "critical"), ("1", "3d", "6h", "warning")]
    {
        let burns = |span: &str| format!("resilient:errors:ratio_rate{span} > {factor} * 0.001");
        let rule = format!(
            "expr: {} and {}\n        labels: {{ severity: {severity} }}\n",
            burns(long),
            burns(short)
        );
        assert_eq!(rules.matches(&rule).count(), 1, "{rule}");
        for span in [long, short] {
            assert!(rules.contains(&format!("record: resilient:errors:ratio_rate{span}\n")), "{span}");
        }
    }
    assert_eq!(rules.matches("* 0.001").count(), 6, "there are other burn rates");
}

#[test]
fn the_prometheus_rules_have_an_alert_on_the_latency_of_all_instances() {
    let rules = include_str!("../../monitoring/prometheus-rules.yml");
    let record = "record: resilient:latency:p99_5m";
    let (_, rule) = rules.split_once(record).unwrap();
    assert!(rule.contains("sum by (le, operation) (rate(resilient_call_duration_seconds_bucket{"), "{rule}");
    let (_, threshold) = rules.split_once("expr: resilient:latency:p99_5m > ").unwrap();
    let threshold: f64 = threshold.lines().next().unwrap().parse().unwrap();
    let bounds = resilient_runtime::observe::DurationHistogram::BOUNDS;
    assert!(
        bounds.contains(&threshold),
        "the threshold must be a bucket bound, because quantiles between bounds are interpolated"
    );
}

#[test]
fn a_check_that_has_not_run_yet_raises_no_alert() {
    let rules = include_str!("../../monitoring/prometheus-rules.yml");
    let used: Vec<&str> = rules.lines().filter(|line| line.contains("resilient_health_status")).collect();
    assert_eq!(used, [r#"        expr: resilient_health_status{status="fail"} == 1"#]);
    let registry = Registry::new();
    registry.health("db");
    let text = render(&registry, Format::Text);
    let status = |status: &str| {
        let label = format!("status=\"{status}\"");
        let mut lines = text.lines().filter(|line| line.starts_with("resilient_health_status{"));
        lines.find(|line| line.contains(&label)).unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!((status("unknown"), status("fail")), ("1".into(), "0".into()));
}

#[test]
fn the_grafana_dashboard_and_the_prometheus_rules_use_only_exported_names() {
    let text = render(&full(), Format::Text);
    let names = |Family { name, kind, .. }| match &*kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
        _ => vec![name],
    };
    let exported: BTreeSet<String> = parse(&text).into_iter().flat_map(names).collect();
    let files = [
        include_str!("../../monitoring/grafana.json"),
        include_str!("../../monitoring/prometheus-rules.yml"),
    ];
    let mut used = BTreeSet::new();
    for file in files {
        // Recording rules have a colon in their names.
        let words = file.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        used.extend(words.filter(|word| word.starts_with("resilient_")));
    }
    assert!(used.len() > 20, "{used:?}");
    // Exported with the feature `chaos` of the runtime.
    let is_built = |name: &&str| cfg!(feature = "chaos") || !name.starts_with("resilient_chaos_");
    for name in used.into_iter().filter(is_built) {
        assert!(exported.contains(name), "`{name}` is not exported");
    }
    let dashboard: serde_json::Value = serde_json::from_str(files[0]).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 15);
}
