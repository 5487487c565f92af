//! The dashboard: static files embedded in the program, without a build step or external resources.
//!
//! The files contain no data, so that they are served without authentication. All data comes from the guarded API.

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header;
use resilient_runtime::Kind;

/// Name below `/dashboard/`, content type and content.
const FILES: [(&str, &str, &[u8]); 14] = [
    ("app.js", JAVASCRIPT, include_bytes!("assets/app.js")),
    ("access.js", JAVASCRIPT, include_bytes!("assets/access.js")),
    ("store.js", JAVASCRIPT, include_bytes!("assets/store.js")),
    ("parts.js", JAVASCRIPT, include_bytes!("assets/parts.js")),
    ("chart.js", JAVASCRIPT, include_bytes!("assets/chart.js")),
    ("health.js", JAVASCRIPT, include_bytes!("assets/health.js")),
    ("grid.js", JAVASCRIPT, include_bytes!("assets/grid.js")),
    ("detail.js", JAVASCRIPT, include_bytes!("assets/detail.js")),
    ("settings.js", JAVASCRIPT, include_bytes!("assets/settings.js")),
    ("events.js", JAVASCRIPT, include_bytes!("assets/events.js")),
    ("pages.js", JAVASCRIPT, include_bytes!("assets/pages.js")),
    ("style.css", CSS, include_bytes!("assets/style.css")),
    // uPlot 1.6.32, MIT: see uplot.LICENSE.
    ("uplot.js", JAVASCRIPT, include_bytes!("assets/uplot.js")),
    ("uplot.css", CSS, include_bytes!("assets/uplot.css")),
];
/// The files of the page about faults and experiments.
const CHAOS: &[(&str, &str, &[u8])] = &[
    #[cfg(feature = "chaos")]
    ("chaos.js", JAVASCRIPT, include_bytes!("assets/chaos.js")),
    #[cfg(feature = "chaos")]
    ("chaos-journal.js", JAVASCRIPT, include_bytes!("assets/chaos-journal.js")),
    #[cfg(feature = "chaos")]
    ("chaos-start.js", JAVASCRIPT, include_bytes!("assets/chaos-start.js")),
    #[cfg(feature = "chaos")]
    ("chaos-state.js", JAVASCRIPT, include_bytes!("assets/chaos-state.js")),
    #[cfg(feature = "chaos")]
    ("chaos-stop.js", JAVASCRIPT, include_bytes!("assets/chaos-stop.js")),
    #[cfg(feature = "chaos")]
    ("chaos.css", CSS, include_bytes!("assets/chaos.css")),
];
/// Parts of the page if the program has fault injection.
const CHAOS_LINK: &str = "<a href=\"#/chaos\">Chaos</a>";
const CHAOS_HEAD: &str =
    "<meta name=\"chaos\" content=\"yes\">\n<link rel=\"stylesheet\" href=\"dashboard/chaos.css\">";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Routes of the page and its files, for an API below `prefix`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(prefix: &str) -> Router<S> {
    // All URLs are relative to the page, because the router can be mounted below another path.
    let prefix = if prefix.is_empty() { "." } else { prefix.trim_start_matches('/') };
    let kinds = Kind::all().map(Kind::as_str).collect::<Vec<_>>().join(" ");
    let page =
        include_str!("assets/index.html").replace("{kinds}", &kinds).replace("{prefix}", &escaped(prefix));
    let has_chaos = !CHAOS.is_empty();
    let page = page.replace("{chaos-head}", if has_chaos { CHAOS_HEAD } else { "" });
    let page = page.replace("{chaos-link}", if has_chaos { CHAOS_LINK } else { "" });
    let page = Bytes::from(page);
    let page = move || {
        let page = page.clone();
        async move { file("text/html; charset=utf-8", page) }
    };
    let slashed = get(async || Redirect::permanent("../dashboard"));
    let router = Router::new().route("/dashboard", get(page)).route("/dashboard/", slashed);
    // For links in runbooks.
    let short = get(async || Redirect::temporary("../dashboard#/chaos"));
    let router = if has_chaos { router.route("/dashboard/chaos", short) } else { router };
    FILES.iter().chain(CHAOS).fold(router, |router, &(name, kind, content)| {
        router
            .route(&format!("/dashboard/{name}"), get(async move || file(kind, Bytes::from_static(content))))
    })
}

fn file(kind: &'static str, content: Bytes) -> Response {
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_listed_and_the_page_names_only_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/assets");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
        files.retain(|name| name != "index.html" && name != "uplot.LICENSE");
        files.sort();
        if CHAOS.is_empty() {
            files.retain(|name| !name.starts_with("chaos"));
        }
        let mut listed: Vec<_> = FILES.iter().chain(CHAOS).map(|(name, ..)| *name).collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
    }

    #[test]
    fn the_whole_dashboard_is_small() {
        let page = include_bytes!("assets/index.html").len();
        let sum =
            |files: &[(&str, &str, &[u8])]| files.iter().map(|(.., content)| content.len()).sum::<usize>();
        let (size, chaos) = (page + sum(&FILES), sum(CHAOS));
        // Uncompressed. With gzip it is less than half of that.
        assert!(size <= 120 * 1024 && chaos <= 28 * 1024, "{size} and {chaos} bytes");
    }

    #[test]
    fn a_prefix_cannot_break_out_of_its_attribute() {
        assert_eq!(escaped("/a\"><script>"), "/a&quot;>&lt;script>");
    }
}
