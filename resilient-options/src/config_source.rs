//! A source of settings, which has none of its own.

table! {
    config_source: "";
}
