//! The HTTP API of the fault proxy over TCP, in the shape of Toxiproxy 2.

mod support;

use std::net::SocketAddr;

use resilient_chaos::proxy::{Effect, Proxies, ProxySpec, ServeError, Toxic, TransferRate};
use serde_json::{Value, json};
use support::{Server, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-for-tests-0123456789";

struct Api {
    address: SocketAddr,
    proxies: Proxies,
    task: JoinHandle<Result<(), ServeError>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The message of an error, whose shape is checked.
    fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["status"], self.status, "{json}");
        assert!(self.head.contains("application/json"), "{}", self.head);
        json["error"].as_str().unwrap().to_owned()
    }
}

impl Api {
    async fn new() -> Self {
        Self::with(Proxies::new()).await
    }

    async fn with(proxies: Proxies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(proxies.clone().serve(listener));
        Self { address, proxies, task }
    }

    async fn raw(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        );
        // The server may respond before it has read a large body.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.raw("POST", path, &[], &body.to_string()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, &[], "").await
    }

    async fn create(&self, name: &str) -> Answer {
        self.post("/proxies", json!({ "name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9" }))
            .await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn the_version_is_of_major_version_2() {
    let version = Api::new().await.get("/version").await;
    assert_eq!(version.status, 200);
    assert!(version.json()["version"].as_str().unwrap().starts_with("2."));
}

#[tokio::test]
async fn a_proxy_is_created_shown_changed_and_removed() {
    let api = Api::new().await;
    let created = api.create("redis").await;
    assert_eq!(created.status, 201);
    let json = created.json();
    let listen = json["listen"].as_str().unwrap().to_owned();
    assert!(listen.starts_with("127.0.0.1:") && !listen.ends_with(":0"), "{listen}");
    let expected = json!({
        "name": "redis", "listen": listen, "upstream": "127.0.0.1:9", "enabled": true, "toxics": []
    });
    assert_eq!(json, expected);
    assert_eq!(api.get("/proxies/redis").await.json(), expected);
    assert_eq!(api.get("/proxies").await.json(), json!({ "redis": expected }));

    for method in ["POST", "PATCH"] {
        for enabled in [false, true] {
            let body = json!({ "enabled": enabled }).to_string();
            let changed = api.raw(method, "/proxies/redis", &[], &body).await;
            assert_eq!((changed.status, changed.json()["enabled"].as_bool()), (200, Some(enabled)));
            assert_eq!(changed.json()["listen"], listen, "the port stays");
            assert_eq!(TcpStream::connect(&listen).await.is_ok(), enabled);
        }
    }
    let moved =
        api.post("/proxies/redis", json!({ "listen": "localhost:0", "upstream": "127.0.0.1:10" })).await;
    assert_eq!(moved.json()["upstream"], "127.0.0.1:10");
    assert_ne!(moved.json()["listen"], listen);
    assert!(TcpStream::connect(&listen).await.is_err());

    let removed = api.delete("/proxies/redis").await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert_eq!(api.get("/proxies").await.json(), json!({}));
    for answer in [
        api.get("/proxies/redis").await,
        api.delete("/proxies/redis").await,
        api.post("/proxies/redis", json!({})).await,
        api.get("/proxies/redis/toxics").await,
        api.post("/proxies/redis/toxics", json!({ "type": "latency" })).await,
    ] {
        assert_eq!((answer.status, answer.error().as_str()), (404, "proxy not found: `redis`"));
    }
}

#[tokio::test]
async fn a_toxic_is_created_shown_changed_and_removed() {
    let api = Api::new().await;
    api.create("redis").await;
    let toxics = "/proxies/redis/toxics";
    let latency = json!({ "type": "latency", "attributes": { "latency": 100, "jitter": 10 } });
    let created = api.post(toxics, latency.clone()).await;
    let expected = json!({
        "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1.0,
        "attributes": { "latency": 100, "jitter": 10 }
    });
    assert_eq!((created.status, created.json()), (200, expected.clone()));
    assert_eq!(api.get("/proxies/redis/toxics/latency_downstream").await.json(), expected);
    assert_eq!(api.get(toxics).await.json(), json!([expected]));
    assert_eq!(api.get("/proxies/redis").await.json()["toxics"], json!([expected]));
    let twice = api.post(toxics, latency).await;
    assert_eq!((twice.status, twice.error().as_str()), (409, "toxic already exists: `latency_downstream`"));

    // Attributes that are not sent stay, and fields that cannot change are ignored.
    let change =
        json!({ "type": "other", "stream": "upstream", "toxicity": 0.5, "attributes": { "latency": 7 } });
    for method in ["POST", "PATCH"] {
        let changed =
            api.raw(method, "/proxies/redis/toxics/latency_downstream", &[], &change.to_string()).await;
        assert_eq!(changed.status, 200);
        let mut expected = expected.clone();
        expected["toxicity"] = json!(0.5);
        expected["attributes"]["latency"] = json!(7);
        assert_eq!(changed.json(), expected);
    }
    assert_eq!(api.delete("/proxies/redis/toxics/latency_downstream").await.status, 204);
    for answer in [
        api.get("/proxies/redis/toxics/latency_downstream").await,
        api.delete("/proxies/redis/toxics/latency_downstream").await,
        api.post("/proxies/redis/toxics/latency_downstream", json!({})).await,
    ] {
        assert_eq!((answer.status, answer.error().as_str()), (404, "toxic not found: `latency_downstream`"));
    }
}

// The unit of the API is kB/s.
#[tokio::test]
async fn a_change_of_the_toxicity_keeps_an_effect_that_the_json_rounds() {
    let api = Api::new().await;
    api.create("redis").await;
    let proxy = api.proxies.get("redis").unwrap();
    let rate = TransferRate::bytes(500);
    proxy.add(Toxic::bandwidth(rate)).unwrap().keep();
    let changed = api.post("/proxies/redis/toxics/bandwidth_downstream", json!({ "toxicity": 0.5 })).await;
    assert_eq!(changed.json()["attributes"], json!({ "rate": 0 }));
    assert_eq!(*proxy.toxics()[0].effect(), Effect::Bandwidth { rate });
}

#[tokio::test]
async fn every_type_has_the_attributes_of_toxiproxy() {
    let api = Api::new().await;
    api.create("redis").await;
    for (kind, attributes) in [
        ("latency", json!({ "latency": 1, "jitter": 2 })),
        ("bandwidth", json!({ "rate": 3 })),
        ("slow_close", json!({ "delay": 4 })),
        ("timeout", json!({ "timeout": 2_147_483_647 })),
        ("reset_peer", json!({ "timeout": 6 })),
        ("slicer", json!({ "average_size": 64, "size_variation": 32, "delay": 10 })),
        ("limit_data", json!({ "bytes": 7 })),
        ("noop", json!({})),
    ] {
        let body = json!({ "name": kind, "type": kind, "stream": "upstream", "attributes": attributes });
        let created = api.post("/proxies/redis/toxics", body).await;
        assert_eq!(created.status, 200, "{}", created.body);
        assert_eq!(created.json()["attributes"], attributes, "{kind}");
    }
    // Attributes are optional, except that slices cannot have 0 bytes. `null` counts as missing.
    for (kind, status) in [("latency", 200), ("limit_data", 200), ("noop", 200), ("slicer", 400)] {
        let body = json!({ "type": kind, "stream": null, "toxicity": null, "attributes": null });
        assert_eq!(api.post("/proxies/redis/toxics", body).await.status, status, "{kind}");
    }
    let names: Vec<String> = api
        .get("/proxies/redis/toxics")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|toxic| toxic["stream"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.iter().filter(|name| *name == "upstream").count(), 8);
    assert!(names.is_sorted_by(|a, b| a >= b), "upstream first: {names:?}");
}

#[tokio::test]
async fn wrong_requests_are_explained() {
    let api = Api::new().await;
    api.create("redis").await;
    let taken = api.get("/proxies/redis").await.json()["listen"].as_str().unwrap().to_owned();
    let proxy = |field: &str, value: Value| {
        let mut body = json!({ "name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9" });
        body[field] = value;
        body
    };
    for (body, status, expected) in [
        (proxy("name", json!("")), 400, "missing required field: name"),
        (proxy("name", json!(null)), 400, "missing required field: name"),
        (proxy("upstream", json!("")), 400, "missing required field: upstream"),
        (proxy("name", json!("redis")), 409, "proxy already exists: `redis`"),
        (proxy("name", json!("a/b")), 400, "invalid name"),
        (proxy("name", json!("x".repeat(101))), 400, "1 to 100 bytes"),
        (proxy("name", json!(7)), 400, "bad request body: invalid type: integer `7`"),
        (proxy("upstream", json!("localhost")), 400, "the port is missing"),
        (proxy("listen", json!("local373")), 400, "invalid listen `local373`"),
        (proxy("listen", json!("0.0.0.0:0")), 403, "refused to listen on 0.0.0.0:0"),
        (proxy("listen", json!(":0")), 403, "refused to listen on 0.0.0.0:0"),
        (proxy("listen", json!(taken)), 500, "address already in use by the proxy `redis`"),
        (proxy("listen", json!(api.address.to_string())), 500, "address already in use by another program"),
        (json!([1]), 400, "bad request body"),
    ] {
        let answer = api.post("/proxies", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.error().contains(expected), "{body}: {}", answer.body);
    }
    for (body, expected) in [
        (json!({}), "invalid toxic type ``: use one of latency, bandwidth"),
        (json!({ "type": "latncy" }), "invalid toxic type `latncy`"),
        (json!({ "type": "latency", "stream": "sideways" }), "can be either upstream or downstream"),
        (json!({ "type": "latency", "toxicity": 2 }), "toxicity is 2: use a number from 0 to 1"),
        (
            json!({ "type": "latency", "attributes": { "latency": -1 } }),
            "`latency` is -1: use an integer from 0",
        ),
        (json!({ "type": "latency", "attributes": { "latency": 1.5 } }), "`latency` is 1.5"),
        (
            json!({ "type": "latency", "attributes": { "latency": 1e18 } }),
            "use an integer from 0 to 2592000000",
        ),
        (
            json!({ "type": "latency", "attributes": { "latncy": 1 } }),
            "unknown attribute `latncy`: latency has latency, jitter",
        ),
        (json!({ "type": "latency", "attributes": 1 }), "bad request body"),
        (json!({ "type": "slicer", "attributes": { "average_size": 0 } }), "average_size is 0"),
    ] {
        let answer = api.post("/proxies/redis/toxics", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.error().contains(expected), "{body}: {}", answer.body);
    }
    assert_eq!(api.get("/proxies/redis/toxics").await.json(), json!([]));
    let large = api.raw("POST", "/proxies", &[], &"x".repeat(2 << 20)).await;
    assert_eq!((large.status, large.error().as_str()), (413, "Payload Too Large"));
    assert_eq!(api.get("/proxies/%ff").await.error(), "Bad Request");
    assert!(api.raw("POST", "/proxies", &[], "").await.error().starts_with("bad request body: EOF"));
    assert_eq!(api.get("/metrics").await.status, 404);
    assert_eq!(api.get("/reset").await.error(), "no such method for this path");
    assert_eq!(api.get("/proxies").await.json().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_change_keeps_the_proxy_running() {
    let api = Api::new().await;
    let listen = api.create("redis").await.json()["listen"].as_str().unwrap().to_owned();
    let taken = api.create("other").await.json()["listen"].clone();
    for (body, status) in [
        (json!({ "listen": taken }), 500),
        (json!({ "listen": "0.0.0.0:0" }), 403),
        (json!({ "upstream": "x" }), 400),
        (json!({ "upstream": listen }), 400),
    ] {
        let answer = api.post("/proxies/redis", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        let now = api.get("/proxies/redis").await.json();
        assert_eq!((&now["listen"], &now["enabled"]), (&json!(listen), &json!(true)));
        assert!(TcpStream::connect(&listen).await.is_ok());
    }
}

#[tokio::test]
async fn populate_keeps_equal_proxies_and_replaces_others() {
    let api = Api::new().await;
    let spec =
        |name: &str, upstream: &str| json!({ "name": name, "listen": "127.0.0.1:0", "upstream": upstream });
    let both = json!([spec("one", "127.0.0.1:9"), spec("two", "127.0.0.1:9")]);
    let first = api.post("/populate", both.clone()).await;
    assert_eq!(first.status, 201);
    let names: Vec<Value> =
        first.json()["proxies"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
    for name in ["one", "two"] {
        api.post(&format!("/proxies/{name}/toxics"), json!({ "type": "latency" })).await;
    }
    let before = api.get("/proxies/one").await.json();
    assert_eq!(api.post("/populate", both).await.json()["proxies"][0], before, "unchanged, with its toxics");
    let other = api.post("/populate", json!([spec("two", "127.0.0.1:10")])).await.json();
    assert_eq!(other["proxies"][0]["toxics"], json!([]), "replaced");

    let missing = api.post("/populate", json!([spec("three", "127.0.0.1:9"), { "listen": "" }])).await;
    assert_eq!(
        (missing.status, missing.error()),
        (400, "missing required field: name at proxy 2".to_owned())
    );
    assert_eq!(missing.json()["proxies"], json!([]));
    let mut bad = spec("five", "127.0.0.1:9");
    bad["listen"] = json!("local373");
    let half =
        api.post("/populate", json!([spec("four", "127.0.0.1:9"), bad, spec("six", "127.0.0.1:9")])).await;
    assert_eq!((half.status, half.json()["proxies"][0]["name"].as_str()), (400, Some("four")));
    let all = api.get("/proxies").await.json();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["four", "one", "two"]);
}

#[tokio::test]
async fn reset_enables_all_proxies_and_removes_all_toxics() {
    let api = Api::new().await;
    let listen = api.create("redis").await.json()["listen"].as_str().unwrap().to_owned();
    api.post("/proxies/redis/toxics", json!({ "type": "timeout" })).await;
    api.post("/proxies/redis", json!({ "enabled": false })).await;
    let reset = api.raw("POST", "/reset", &[], "").await;
    assert_eq!((reset.status, reset.body.as_str()), (204, ""));
    let now = api.get("/proxies/redis").await.json();
    assert_eq!((&now["toxics"], &now["enabled"], &now["listen"]), (&json!([]), &json!(true), &json!(listen)));
}

#[tokio::test]
async fn data_flows_through_a_proxy_of_the_api() {
    let (api, server) = (Api::new().await, Server::echo_at("127.0.0.1:0".parse().unwrap()).await);
    let body = json!({ "name": "echo", "upstream": server.address() });
    let listen = api.post("/proxies", body).await.json()["listen"].as_str().unwrap().to_owned();
    let mut client = TcpStream::connect(&listen).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    client.read_exact(&mut [0; 4]).await.unwrap();
    api.post("/proxies/echo/toxics", json!({ "type": "limit_data", "attributes": { "bytes": 2 } })).await;
    client.write_all(b"ping").await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "pi");
    assert_eq!(api.delete("/proxies/echo").await.status, 204);
    assert!(TcpStream::connect(&listen).await.is_err());
}

#[tokio::test]
async fn the_token_is_required_and_allows_other_addresses() {
    let api = Api::with(Proxies::new().token(TOKEN).unwrap()).await;
    let (right, wrong) =
        (format!("authorization: Bearer {TOKEN}"), format!("authorization: Bearer {TOKEN}x"));
    let basic = format!("authorization: Basic {TOKEN}");
    for headers in [&[][..], &[wrong.as_str()], &[basic.as_str()]] {
        let refused = api.raw("GET", "/proxies", headers, "").await;
        assert_eq!(refused.status, 401);
        assert!(refused.error().contains("missing or wrong token"));
        assert!(refused.head.to_lowercase().contains("www-authenticate: bearer"), "{}", refused.head);
    }
    let body = json!({ "name": "open", "listen": ":0", "upstream": "127.0.0.1:9" }).to_string();
    let created = api.raw("POST", "/proxies", &[&right], &body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(!format!("{:?}", api.proxies).contains(TOKEN));

    let everywhere = async || TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = Proxies::new().serve(everywhere().await).await.unwrap_err().to_string();
    assert!(refused.contains("without a token"), "{refused}");
    let served = Proxies::new().token(TOKEN).unwrap();
    let listener = everywhere().await;
    let serving = served.serve(listener);
    let timeout = tokio::time::timeout(std::time::Duration::from_millis(20), serving).await;
    assert!(timeout.is_err(), "it serves");
}

#[tokio::test]
async fn browsers_are_rejected() {
    let api = Api::new().await;
    for header in
        ["user-agent: Mozilla/5.0 (X11)", "origin: http://evil.example", "sec-fetch-site: cross-site"]
    {
        let refused = api.raw("POST", "/reset", &[header], "").await;
        assert_eq!(refused.status, 403, "{header}");
        assert!(refused.error().contains("browsers"));
    }
    assert_eq!(api.raw("POST", "/reset", &["user-agent: curl/8"], "").await.status, 204);
}

#[tokio::test]
async fn the_number_of_proxies_is_bounded() {
    let proxies = Proxies::new();
    for number in 0..256 {
        let mut spec = ProxySpec::new(number.to_string(), "", "127.0.0.1:9");
        spec.enabled = false;
        proxies.create(spec).await.unwrap();
    }
    let error = proxies.create(ProxySpec::new("more", "", "127.0.0.1:9")).await.unwrap_err().to_string();
    assert_eq!(error, "too many proxies: the limit is 256");
}

#[tokio::test]
async fn all_proxies_share_the_limit_of_connections() {
    let server = Server::echo_at("127.0.0.1:0".parse().unwrap()).await;
    let proxies = Proxies::new().connections(1);
    let one = proxies.create(ProxySpec::new("one", "", server.address())).await.unwrap();
    let two = proxies.create(ProxySpec::new("two", "", server.address())).await.unwrap();
    let _first = TcpStream::connect(one.address()).await.unwrap();
    eventually("it is open", || one.stats().open == 1).await;
    let mut second = TcpStream::connect(two.address()).await.unwrap();
    assert!(matches!(second.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert_eq!(two.stats().rejected, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_leave_one_consistent_state() {
    let api = Api::new().await;
    api.create("redis").await;
    let change = async |number: usize| {
        let body = json!({ "enabled": number.is_multiple_of(2) });
        assert_eq!(api.post("/proxies/redis", body).await.status, 200);
        api.create("other").await.status
    };
    let (a, b, c, d) = tokio::join!(change(1), change(2), change(3), change(4));
    let mut created = [a, b, c, d];
    created.sort_unstable();
    assert_eq!(created, [201, 409, 409, 409]);
    let state = api.get("/proxies/redis").await.json();
    let listens = TcpStream::connect(state["listen"].as_str().unwrap()).await.is_ok();
    assert_eq!(state["enabled"], listens);
}
