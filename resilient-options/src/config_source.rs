//! A source of settings. It has no settings itself.

table! {
    config_source: "";
}
