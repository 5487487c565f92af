//! Settings of a store, which instances of a service share.

table! {
    store: "";

    /// Address of the store, with its login, such as `redis://user:password@host:6379`. A connector for its scheme must be
    /// registered. It replaces a store that the program registered. Its login is never shown.
    url: secret = none, "url = \"redis://host:6379\""
    /// Path of a file with the `url`, for a secret that is mounted as a file. The file is read when the store connects.
    url_file: name = none, "url_file = \"/run/secrets/redis\""
    /// Start of all keys in the store. Use a different one for each application and environment. If not set: the default
    /// of the connector.
    prefix: name = none, "prefix = \"shop:production\""
    /// Maximum time of a request, with the time to connect.
    timeout: time("1ms", "1m") = "250ms", "timeout = \"250ms\""
    /// Maximum number of requests at the same time. Further requests fail at once.
    max_concurrent: count(1, 1_000_000, "requests") = 1_024, "max_concurrent = 1024"
    /// Number of failed requests in a row after which the store counts as degraded: requests fail at once.
    open_after: count(1, 1_000, "requests") = 5, "open_after = 5"
    /// Interval in which a degraded store is tried again, by one request.
    open_for: time("1ms", "1h") = "100ms", "open_for = \"100ms\""
}
