//! The metrics exporters: other systems receive the same series as Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric, number_data_point};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prost::Message as _;
use resilient_http::metrics::{Format, observe, publish, render};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Registry, Rejection};

const SUCCESSES: &str = "resilient_calls_total{operation=\"charge\",outcome=\"success\"}";

const FAST: &str =
    "resilient_call_duration_seconds_bucket{operation=\"charge\",outcome=\"success\",le=\"0.0005\"}";

fn registry() -> Registry {
    // A manual clock, because the retry budget grows with time.
    let registry = Registry::with_clock(ManualClock::new().clock());
    let pipeline =
        registry.pipeline("charge").circuit_breaker("payment").retry("payment").bulkhead("gate").build();
    for _ in 0..3 {
        pipeline.call(|| Ok::<_, Rejection>(())).unwrap();
    }
    registry.health("db");
    registry.alert("errors");
    registry.rate_limiter("a \"b\" \\c");
    registry
}

/// Parses the series of a Prometheus text.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series.into(), value.parse().unwrap()))
        .collect()
}

/// An OTLP collector for metrics over HTTP.
async fn collector() -> (String, Arc<Mutex<Vec<ExportMetricsServiceRequest>>>) {
    type Received = Arc<Mutex<Vec<ExportMetricsServiceRequest>>>;
    async fn receive(State(received): State<Received>, body: Bytes) {
        let request = ExportMetricsServiceRequest::decode(body).expect("an OTLP request");
        received.lock().unwrap().push(request);
    }
    let received = Received::default();
    let router = Router::new().route("/v1/metrics", post(receive)).with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

/// Converts a data point to a Prometheus series, as a collector does.
fn as_series(name: &str, point: &NumberDataPoint) -> (String, f64) {
    let label =
        |KeyValue { key, value, .. }: &KeyValue| match value.as_ref().and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => {
                format!("{key}=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            other => panic!("not a text label: {other:?}"),
        };
    let labels: Vec<String> = point.attributes.iter().map(label).collect();
    let value = match point.value {
        Some(number_data_point::Value::AsInt(count)) => f64::from(u32::try_from(count).unwrap()),
        Some(number_data_point::Value::AsDouble(amount)) => amount,
        None => panic!("{name} has no value"),
    };
    (format!("{name}{{{}}}", labels.join(",")), value)
}

#[test]
fn an_otlp_collector_gets_every_series_with_current_values() {
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, received) = server.block_on(collector());
    let exporter = MetricExporter::builder().with_http().with_endpoint(url).build().unwrap();
    // A long interval: only `force_flush` exports during this test.
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_hours(1)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let registry = registry();
    observe(&registry, &provider.meter("resilient"));
    let export = || {
        provider.force_flush().unwrap();
        let request = received.lock().unwrap().pop().expect("an export arrived");
        let metrics =
            request.resource_metrics.into_iter().flat_map(|of| of.scope_metrics).flat_map(|of| of.metrics);
        let mut series = BTreeMap::new();
        for metric in metrics {
            let (points, name) = match metric.data {
                Some(metric::Data::Sum(sum)) if sum.is_monotonic => {
                    (sum.data_points, format!("{}_total", metric.name))
                }
                // The series of a histogram.
                Some(metric::Data::Sum(sum)) => (sum.data_points, metric.name),
                Some(metric::Data::Gauge(gauge)) => (gauge.data_points, metric.name),
                other => panic!("{other:?}"),
            };
            series.extend(points.iter().map(|point| as_series(&name, point)));
        }
        series
    };
    let sorted = |text: &str| -> BTreeMap<String, f64> {
        // The order of labels is not specified.
        series(text).into_iter().map(|(series, value)| (in_order(&series), value)).collect()
    };
    for calls in 3..5 {
        let arrived: BTreeMap<_, _> =
            export().into_iter().map(|(series, value)| (in_order(&series), value)).collect();
        assert_eq!(arrived, sorted(&render(&registry, Format::Text)));
        assert_eq!(arrived.get(SUCCESSES), Some(&f64::from(calls)));
        assert_eq!(arrived.get(&in_order(FAST)), Some(&f64::from(calls)));
        registry.pipeline("charge").build().call(|| Some(())).unwrap();
    }
}

/// Sorts the labels of a series.
fn in_order(series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap();
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split("\",").collect();
    labels.iter_mut().for_each(|label| *label = label.trim_end_matches('"'));
    labels.sort_unstable();
    format!("{name}{{{}\"}}", labels.join("\","))
}

#[test]
fn the_metrics_recorder_gets_every_series_with_current_values() {
    let registry = registry();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    for calls in 3..5 {
        metrics::with_local_recorder(&recorder, || publish(&registry));
        let arrived = series(&handle.render());
        assert_eq!(arrived, series(&render(&registry, Format::Text)));
        assert_eq!(arrived.get(SUCCESSES), Some(&f64::from(calls)));
        assert_eq!(arrived.get(FAST), Some(&f64::from(calls)));
        registry.pipeline("charge").build().call(|| Some(())).unwrap();
    }
    assert!(handle.render().contains("# TYPE resilient_calls_total counter"));
}
