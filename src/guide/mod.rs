//! The guide: how Tidegate behaves, for those who call it, write flows for it, run it, or change it.
//!
//! The pages are plain Markdown in `src/guide/`, readable there as well as here. Comments in the sources name a page and
//! a heading where the code carries out what the page promises. `tests/readme.rs` checks their tables, links and paths.

#![allow(
    rustdoc::bare_urls,
    reason = "a page shows addresses as they are typed, and is read outside of rustdoc too"
)]

macro_rules! pages {
    ($($(#[$meta:meta])* $name:ident = $file:literal;)*) => {
        $(
            #[doc = include_str!($file)]
            pub mod $name {}
        )*

        /// Every page: its name, which is its file's without the ending, and its text.
        pub const PAGES: &[(&str, &str)] = &[$(($file, include_str!($file))),*];
    };
}

pages! {
    commands = "commands.md";
    settings = "settings.md";
    rest_api = "rest-api.md";
    fields = "fields.md";
    http_requests = "http-requests.md";
    trigger_payload = "trigger-payload.md";
    flows = "flows.md";
    replies_and_templates = "replies-and-templates.md";
    websockets = "websockets.md";
    workers = "workers.md";
    deliveries = "deliveries.md";
    journal = "journal.md";
    cluster = "cluster.md";
    records = "records.md";
    verification = "verification.md";
    limits_and_refusals = "limits-and-refusals.md";
    operations = "operations.md";
    security = "security.md";
    troubleshooting = "troubleshooting.md";
    capacity = "capacity.md";
    performance = "performance.md";
    conformance = "conformance.md";
    dependencies = "dependencies.md";
    changing_tidegate = "changing-tidegate.md";
}
