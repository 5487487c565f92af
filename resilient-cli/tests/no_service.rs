//! Error messages if there is no service, another program, a proxy, or another version.

mod common;

use std::io::Read;
use std::net::TcpListener;

use common::{Ran, command, prepared, response, run, serve, shop, wait_for};

fn stats(url: &str) -> Ran {
    run(&mut command(url, &["stats", "--timeout", "2s"]))
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_service_that_is_not_there_is_told_with_the_url_and_a_remedy() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let ran = stats(&url);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    for part in [&url, "connection refused", "RESILIENT_URL", "--url", "--example payments"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let ran = stats("http://no-such-host.invalid");
    assert_eq!(ran.code, 3);
    assert!(!ran.err.contains("--example payments"), "it would not start there: {}", ran.err);
}

#[test]
fn another_program_is_recognized() {
    let ssh = Some("SSH-2.0-OpenSSH_9.7\r\n".to_owned());
    let html = response("200 OK", "content-type: text/html\r\n", "<html>");
    let not_found = response("404 Not Found", "content-type: text/plain\r\n", "404");
    let redirect = response("302 Found", "location: https://elsewhere.example/\r\n", "");
    let foreign = response("200 OK", "content-type: application/json\r\n", "[1, 2]");
    let cut =
        Some("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{".to_owned());
    let proxy = response("502 Bad Gateway", "content-type: text/html\r\n", "<html>");
    let login = response("401 Unauthorized", "www-authenticate: Basic\r\n", "");
    for (answer, code, text) in [
        (ssh, 3, "another program answers"),
        (html, 3, "another program answers (status 200, text/html)"),
        (not_found, 3, "another program answers (status 404, text/plain)"),
        (redirect, 3, "a redirect"),
        (foreign, 3, "has not the expected form"),
        (cut, 3, "the connection was closed"),
        (proxy, 3, "does not reach the service: status 502"),
        (login, 4, "not by the admin API"),
    ] {
        let ran = stats(&prepared(vec![answer]));
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{ran:?}");
        assert!(ran.err.contains(text), "{text}: {}", ran.err);
    }
}

#[test]
fn the_token_is_not_sent_to_the_target_of_a_redirect() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("location: http://{}/stats\r\n", target.local_addr().unwrap());
    let url = prepared(vec![response("307 Temporary Redirect", &location, "")]);
    let ran = run(command(&url, &["stats"]).env("RESILIENT_TOKEN", common::TOKEN));
    assert_eq!(ran.code, 3);
    target.set_nonblocking(true).unwrap();
    assert!(target.accept().is_err(), "no client connected");
}

#[test]
fn a_service_that_hangs_ends_with_the_timeout() {
    let url = prepared(vec![None]);
    let ran = run(&mut command(&url, &["health", "--timeout", "200ms"]));
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("no answer within 200ms") && ran.err.contains("--timeout"), "{}", ran.err);
    let ran =
        run(command(&url, &["open", "payment", "--timeout", "200ms"]).env("RESILIENT_TOKEN", common::TOKEN));
    assert!(ran.err.contains("the change may have taken effect"), "{}", ran.err);
}

#[test]
fn a_lockout_is_told_with_its_time() {
    let problem =
        r#"{"detail":"too many wrong admin tokens from this address; try again later","status":429}"#;
    let headers = "content-type: application/problem+json\r\nretry-after: 12\r\n";
    let url = prepared(vec![response("429 Too Many Requests", headers, problem)]);
    let ran = run(command(&url, &["stats"]).env("RESILIENT_TOKEN", common::TOKEN));
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("locked out") && ran.err.contains("try again in 12 s"), "{}", ran.err);
    assert!(ran.err.contains("the variable RESILIENT_TOKEN"), "{}", ran.err);
}

#[test]
fn another_version_is_told_with_both_versions() {
    let problem = response(
        "404 Not Found",
        "content-type: application/problem+json\r\n",
        r#"{"detail":"no such endpoint","status":404}"#,
    );
    let openapi = response(
        "200 OK",
        "content-type: application/json\r\n",
        r#"{"info":{"title":"Resilient","version":"9.9.9"}}"#,
    );
    let ran = stats(&prepared(vec![problem, openapi]));
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("the service uses Resilient 9.9.9") && ran.err.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        ran.err
    );
}

#[test]
fn hostile_answers_do_not_reach_the_terminal() {
    let problem = |detail: &str| {
        let body =
            serde_json::json!({ "detail": detail, "status": 422, "did_you_mean": ["\u{1b}[2J", detail] })
                .to_string();
        response("422 Unprocessable Entity", "content-type: application/problem+json\r\n", &body)
    };
    for answer in [
        problem(&"\u{1b}]0;x\u{7}".repeat(10_000)),
        problem("\u{202e}\u{9b}31m\r\nfake line"),
        response("200 OK", "content-type: application/json\r\n", &"[".repeat(1_000_000)),
        response("200 OK", "content-type: application/json\r\n", "\u{0}\u{1b}"),
        response("599 \u{1b}[31m", "content-type: \u{9b}\r\n", ""),
    ] {
        let ran = stats(&prepared(vec![answer]));
        assert!([3, 5].contains(&ran.code), "{ran:?}");
        assert!(
            !ran.err.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\r', '\u{7}']) && ran.err.len() < 2000,
            "{ran:?}"
        );
    }
}

#[test]
fn the_stream_of_events_reconnects_with_a_note() {
    let stream = |event: &str| {
        Some(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: listening\n\ndata: {event}\n\n"
        ))
    };
    let event = |name: &str| format!(r#"{{"kind":"retry","component":"{name}","what":{{"event":"reset"}}}}"#);
    let busy = response("503 Service Unavailable", "content-type: text/html\r\n", "");
    let url = prepared(vec![stream(&event("first")), busy, stream(&event("second"))]);
    let ran = run(&mut command(&url, &["events", "--count", "2", "--json"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let components: Vec<_> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["component"].clone())
        .collect();
    assert_eq!(components, ["first", "second"]);
    assert!(
        ran.err.contains("connection lost; reconnecting") && ran.err.contains("connected again"),
        "{}",
        ran.err
    );
    let ran = run(&mut command(&format!("http://127.0.0.1:{}", free_port()), &["events"]));
    assert_eq!(ran.code, 3, "without a first connection the URL is probably wrong");
}

#[test]
fn events_that_were_lost_are_counted() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n: listening\n\nevent: lost\ndata: 7\n\ndata: {\"kind\":\"retry\",\"component\":\"\\u001b[31m\",\"what\":{\"event\":\"reset\"}}\n\n";
    let ran = run(&mut command(&prepared(vec![Some(answer.to_owned())]), &["events", "--count", "1"]));
    assert!(ran.err.contains("7 events were lost"), "{}", ran.err);
    assert!(ran.out.contains("retry \u{fffd}[31m  reset") && !ran.out.contains('\u{1b}'), "{:?}", ran.out);
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let served = serve(&shop());
    for args in
        [&["schema"][..], &["man"], &["completions", "bash"], &["stats"], &["stats", "--json"], &["metrics"]]
    {
        let mut child = command(&served.url, args).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}: {err}");
        assert_eq!(err, "", "{args:?}");
    }
    let mut child = common::Running(command(&served.url, &["events"]).spawn().unwrap());
    drop(child.0.stdout.take());
    let _rest = wait_for(child.0.stderr.take().unwrap(), "listening to");
    served.registry.circuit_breaker("payment").force_open();
    assert!(child.0.wait().unwrap().success());
}
