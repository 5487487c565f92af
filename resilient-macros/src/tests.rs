//! Runs the macro outside of the compiler: snapshots of its output, and tests that no input makes it panic or drop the
//! body.

use proc_macro2::{Group, TokenStream, TokenTree};

const SAMPLES: &[(&str, &str)] = &[
    (
        "retry(max = 3, budget(ratio = 0.1), when = is_transient), circuit_breaker(\"x\", window = 10)",
        "pub fn f(mut a: u32, (b, c): (u8, u8)) -> Result<u32, E> { let marker_one = a?; return Ok(marker_two) }",
    ),
    (
        "retry(attempts = 3, base = \"10ms\"), timeout(total = \"1s\", attempt = \"99ms\", adaptive(percentile = 95)), fallback = |e| Ok(0)",
        "async fn f<'a, T: Clone>(&'a self, x: impl Display) -> Result<&'a T, E> where T: Send { marker_one.await?; marker_two }",
    ),
    (
        "bulkhead(\"b\", max_concurrent = 8, reserve(critical = 1)), map_err = E::from, priority = high",
        "fn f(x: &str) -> impl Future<Output = Result<u32, E>> + Send { async move { marker_one; marker_two } }",
    ),
    (
        "retry(max = 2), clone(x), fallback(replica = other(x).await, default = |_| None)",
        "fn f(x: &str) -> Pin<Box<dyn Future<Output = Option<u32>> + Send + '_>> { Box::pin(async move { marker_one; marker_two }) }",
    ),
    (
        "registry = self.registry, retry(max = 2, when = again), fallback(replica = zero, backup = |_| async { Ok(0) }, default = Ok(f()? + 1))",
        "fn f(&self, mut x: String, again: fn(&E) -> bool) -> BoxFuture<'static, Result<u32, E>> { x.push('a'); marker_one; Box::pin(async move { marker_two }) }",
    ),
    (
        "idempotent(\"o\", key = x.id, ttl = \"1h\", fingerprint = (x, 1), on_unknown = reexecute), coalesce(key = x), hedge(after = \"p95\")",
        "async fn f(x: &Order) -> Result<u32, E> { marker_one.await?; marker_two }",
    ),
];

/// Returns every variant of the stream with one token removed (at any depth), and every prefix.
fn broken(stream: &TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut out = Vec::new();
    for index in 0..tokens.len() {
        out.push(tokens.iter().take(index).cloned().collect());
        out.push(tokens.iter().enumerate().filter(|(k, _)| *k != index).map(|(_, t)| t.clone()).collect());
        if let TokenTree::Group(group) = &tokens[index] {
            for inner in broken(&group.stream()) {
                let mut copy = tokens.clone();
                copy[index] = TokenTree::Group(Group::new(group.delimiter(), inner));
                out.push(copy.into_iter().collect());
            }
        }
    }
    out
}

fn count(stream: &TokenStream, word: &str) -> usize {
    let count = |token| match token {
        TokenTree::Ident(ident) => usize::from(ident == word),
        TokenTree::Group(group) => count(&group.stream(), word),
        _ => 0,
    };
    stream.clone().into_iter().map(count).sum()
}

#[test]
fn broken_input_does_not_panic_or_drop_the_body() {
    let mut inputs = 0;
    for (args, item) in SAMPLES {
        let (args, item): (TokenStream, TokenStream) = (args.parse().unwrap(), item.parse().unwrap());
        let pairs = broken(&args)
            .into_iter()
            .map(|args| (args, item.clone()))
            .chain(broken(&item).into_iter().map(|item| (args.clone(), item)));
        for (args, item) in pairs {
            let out = crate::entry::entry(args.clone(), item.clone());
            for marker in ["marker_one", "marker_two"] {
                assert_eq!(count(&item, marker), count(&out, marker), "\n{args}\n{item}\n-> {out}");
            }
            inputs += 1;
        }
    }
    assert!(inputs > 500, "{inputs} broken inputs");
}

fn expand(args: &str, item: &str) -> String {
    let out = crate::entry::entry(args.parse().unwrap(), item.parse().unwrap());
    prettyplease::unparse(&syn::parse2(out).expect("the expansion is Rust"))
}

/// Compares the expansion with a file in `snapshots`. `UPDATE_SNAPSHOTS=1` overwrites the file.
fn snapshot(name: &str, args: &str, item: &str) {
    let path = format!("{}/src/snapshots/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let now = expand(args, item);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(known, now, "run with UPDATE_SNAPSHOTS=1 to update the snapshot");
}

#[test]
fn expansions_match_the_snapshots() {
    snapshot(
        "breaker_sync",
        "circuit_breaker = \"payment\"",
        "fn f(x: &str) -> Result<u32, E> { Ok(x.parse()?) }",
    );
    snapshot(
        "retry_sync",
        "retry(max = 3)",
        "fn f(mut x: Vec<u8>) -> Option<u32> { x.pop().map(u32::from) }",
    );
    snapshot(
        "four_async",
        "circuit_breaker = \"payment\", retry(max = 3), bulkhead = \"gateway\", timeout = \"2s\"",
        "async fn charge(order: &Order) -> Result<Receipt, PayError> { gateway.charge(order).await }",
    );
    snapshot(
        "fallback_async",
        "circuit_breaker = \"payment\", fallback = queue_for_later(order).await",
        "async fn charge(order: &Order) -> Result<Receipt, PayError> { gateway.charge(order).await }",
    );
    snapshot(
        "chain_sync",
        "bulkhead = \"gateway\", fallback(default = 0, replica = other)",
        "fn rate(&self) -> u32 { self.fetch() }",
    );
}

/// Returns the expansion, which contains the errors.
fn errors(args: &str) -> String {
    crate::entry::entry(
        args.parse().unwrap(),
        "async fn f() -> Result<u32, E> { work().await }".parse().unwrap(),
    )
    .to_string()
}

#[test]
fn settings_that_can_never_take_effect_are_errors() {
    let cases = [
        ("retry(max = 3, base = \"2s\", jitter = 0, max_elapsed = \"1s\")", "would begin 2s after the call"),
        ("retry(max = 3, base = \"2s\", max_elapsed = \"1s\")", "would begin 1s after the call"),
        ("retry(max = 3, max_elapsed = \"20ms\")", "would begin 50ms after the call"),
        ("retry(max = 3, base = \"30s\", max_delay = \"5s\")", "`max_delay` is shorter than `base`"),
        ("retry(max = 3, budget(ratio = 0, reserve = 0))", "this budget never has a token"),
        (
            "hedge(after = \"1s\", budget(ratio = 0, reserve = 0)), idempotent",
            "this budget never has a token",
        ),
        (
            "retry(max = 3, base = \"4s\"), timeout = \"2s\"",
            "the total timeout ends the call before the first one",
        ),
        (
            "retry(max = 3, base = \"3m\"), timeout(attempt = \"1s\")",
            "the default total timeout of 60 s ends the call",
        ),
        ("bulkhead(\"b\", max_queue = 1, max_wait = \"3s\"), timeout = \"2s\"", "no call waits that long"),
        ("rate_limit(\"b\", rate = \"1/s\", max_wait = \"3s\"), timeout = \"2s\"", "no call waits that long"),
        ("rate_limit(\"b\", rate = \"1/s\", mode = exact)", "`mode` has an effect only with `store`"),
        (
            "rate_limit(\"b\", rate = \"1/s\", on_store_failure = local)",
            "`on_store_failure` has an effect only with `store`",
        ),
        (
            "rate_limit(\"b\", rate = \"1/s\", algorithm = sliding_log, store = \"s\")",
            "a `sliding_log` cannot be shared by a `store`",
        ),
        (
            "rate_limit(\"b\", rate = \"1/s\", algorithm = leaky_bucket, max_wait = \"1s\", store = \"s\", mode = lease)",
            "use `mode = exact`",
        ),
        ("coalesce(key = 1, max_wait = \"3s\"), timeout = \"2s\"", "no call waits that long"),
        ("circuit_breaker(\"b\", slow_call = \"3s\"), timeout = \"2s\"", "no call can be that slow"),
        ("circuit_breaker(\"b\", slow_in_flight = true)", "`slow_in_flight` needs `slow_call`"),
    ];
    for (args, message) in cases {
        let errors = errors(args);
        assert!(errors.contains("compile_error") && errors.contains(message), "{args}\n{errors}");
    }
}

#[test]
fn settings_that_can_take_effect_are_accepted() {
    let cases = [
        "retry(max = 3, base = \"2s\", max_elapsed = \"1001ms\")",
        "retry(max = 3, base = \"30s\")",
        "retry(max = 3, max_delay = \"50ms\")",
        "retry(max = 3, base = \"2m\"), timeout(\"elsewhere\", attempt = \"1s\")",
        "retry(max = 3, base = \"0ms\"), timeout = \"1ms\"",
        // Without a total, no timeout ends the call first.
        "retry(max = 3, base = \"2m\"), timeout(total = none, attempt = \"5s\")",
        "bulkhead(\"b\", max_queue = 1, max_wait = \"70s\"), timeout(total = none)",
        "circuit_breaker(\"b\", slow_call = \"80s\"), timeout(total = none, attempt = \"90s\")",
        "retry(max = 3, budget(ratio = 0, reserve = 1))",
        "retry(max = 3, budget = off)",
        "retry(max = 3, budget(ratio = 0.2, reserve = 1, free = 0), max_retry_after = \"5m\")",
        "hedge(after = \"p95\", min_delay = \"5ms\", budget(ratio = 0.2, reserve = 0)), idempotent",
        "circuit_breaker(\"b\", low_volume_failures = 0, slow_call = \"1s\", slow_in_flight = true, open_jitter = 0, probe_lease = \"5s\")",
        "circuit_breaker(\"b\", slow_call = \"2s\"), timeout = \"2s\"",
    ];
    for args in cases {
        let errors = errors(args);
        assert!(!errors.contains("compile_error"), "{args}\n{errors}");
    }
    assert!(expand("retry(max = 3, budget = off)", "fn f() -> Option<u32> { None }").contains("\"off\""));
}
