//! Checks the import graph of `resilient-runtime` by top-level module.
//!
//! The graph has no cycles, and no component imports another one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules that use components.
const ABOVE: [&str; 5] = ["config", "pipeline", "registry", "rt", "site"];

/// Allowed imports of a component by another one.
const ALLOWED: [(&str, &str); 6] = [
    ("retry", "budget"),
    ("hedge", "budget"),
    ("circuit_breaker", "store"),
    ("fallback", "store"),
    ("idempotency", "store"),
    ("rate_limit", "store"),
];

/// Imported modules and the importing file, by importing module.
type Graph = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// The modules of the components, from the table of kinds. They must not import each other or modules that use
/// components.
fn components() -> Vec<String> {
    let table = std::fs::read_to_string(source().join("kind/table.rs")).unwrap();
    let rows = table.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once("::{"));
    let modules = rows.filter_map(|(row, _)| row.split_whitespace().last());
    modules.filter(|module| !ABOVE.contains(module)).map(str::to_owned).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../resilient-runtime/src")
}

fn graph() -> Graph {
    let root = source();
    let entries = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let modules: Vec<(String, PathBuf)> = entries
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name != "lib")
        .collect();
    let names: BTreeSet<&str> = modules.iter().map(|(name, _)| name.as_str()).collect();
    let library = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    let mut graph = Graph::new();
    for (name, path) in &modules {
        for file in files(path) {
            let text = std::fs::read_to_string(&file).unwrap();
            for item in imported(without_tests_and_comments(&text).as_str()) {
                let Some(of) = names.get(item.as_str()).copied().or_else(|| exported_by(&library, &item))
                else {
                    continue;
                };
                if of != name {
                    graph.entry(name.clone()).or_default().insert(of.to_owned(), file.clone());
                }
            }
        }
    }
    graph
}

/// The source files of a module, without its tests.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_stem().unwrap().to_string_lossy();
    let is_test = ["tests", "simulation", "loom_models"].contains(&&*name) || name.ends_with("_tests");
    if is_test {
        return Vec::new();
    }
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return entries.flat_map(|path| files(&path)).collect();
    }
    if path.extension().is_some_and(|extension| extension == "rs") {
        vec![path.to_owned()]
    } else {
        Vec::new()
    }
}

fn without_tests_and_comments(text: &str) -> String {
    let end = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test, not(resilient_loom)))]\nmod tests {"];
    let end = end.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The names after `crate::`, single or in braces.
fn imported(text: &str) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    for (start, _) in text.match_indices("crate::") {
        let rest = &text[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap_or_default();
                items.extend(list.split(',').map(|item| word(item.trim())));
            }
            None => _ = items.insert(word(rest)),
        }
    }
    items
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The module that defines an item which the library reexports.
fn exported_by<'l>(library: &'l str, item: &str) -> Option<&'l str> {
    let exports = library.lines().filter_map(|line| line.strip_prefix("pub use "));
    exports.filter_map(|export| export.split_once("::")).find_map(|(module, items)| {
        items.split(|c: char| !c.is_alphanumeric() && c != '_').any(|name| name == item).then_some(module)
    })
}

fn is_allowed(from: &str, to: &str) -> bool {
    ALLOWED.contains(&(from, to))
}

/// The modules of an import cycle, in order.
fn cycle(
    graph: &Graph,
    module: &str,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|on_path| on_path == module) {
        return Some(path[start..].to_vec());
    }
    if !done.insert(module.to_owned()) {
        return None;
    }
    path.push(module.to_owned());
    let next = graph.get(module).into_iter().flat_map(BTreeMap::keys);
    for to in next {
        if let Some(cycle) = cycle(graph, to, path, done) {
            return Some(cycle);
        }
    }
    path.pop();
    None
}

#[test]
fn no_component_imports_another_one_or_a_module_that_uses_components() {
    let (graph, components) = (graph(), components());
    assert!(components.len() > 12, "{components:?}");
    for component in &components {
        for (to, file) in &graph[component] {
            let is_foreign = components.contains(to) || ABOVE.contains(&to.as_str());
            let file = file.display();
            assert!(!is_foreign || is_allowed(component, to), "`{component}` imports `{to}` in {file}");
        }
    }
}

#[test]
fn the_import_graph_has_no_cycle() {
    let (graph, mut done) = (graph(), BTreeSet::new());
    for module in graph.keys() {
        let found = cycle(&graph, module, &mut Vec::new(), &mut done);
        assert_eq!(found, None, "these modules form an import cycle");
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text =
        "use crate::{clock, outcome::Verdict};\n// use crate::no\nfn f() { crate::observe::seconds() }";
    let found = imported(&without_tests_and_comments(text));
    assert_eq!(found, BTreeSet::from(["clock", "outcome", "observe"].map(str::to_owned)));
    assert_eq!(exported_by("pub use outcome::{Failure, Verdict};", "Verdict"), Some("outcome"));
}
