//! Places in the source that ask for protection: the annotated functions.
//!
//! Each has a static of its own, sent in at link time, so that all are known before the first call. A site
//! finds its components once and keeps them; from then on it costs one load.

use std::fmt;

use once_cell::sync::OnceCell;

use crate::component::Kind;
use crate::level::Level;
use crate::pipeline::Pipeline;
use crate::settings::Setting;
use crate::sync::Mutex;

/// What follows the path of the function in that of what is inside of it.
const INSIDE: &str = "::__RESILIENT_SITE";

/// What the attribute said; a constant.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // a form that the attribute fills in
pub struct SiteMeta {
    /// The function's name.
    pub function: &'static str,
    /// The path of its module.
    pub module: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line it is in.
    pub line: u32,
    /// The path of something inside of it, with the type that it is a method of.
    pub inside: fn() -> &'static str,
    /// `name = ".."`
    pub name: Option<&'static str>,
    /// Whether it is an `async fn` or the like.
    pub asynchronous: bool,
    /// `idempotent`
    pub idempotent: bool,
    /// `registry = ..`
    pub own_registry: bool,
    /// The stages that were asked for.
    pub stages: &'static [StageUse],
    /// The fallback levels, in the order of the chain.
    pub levels: &'static [Level],
    /// Whether the local cache among them is the built-in one.
    pub keeps: bool,
    /// `retry(when = ..)`
    pub retry_when: bool,
    /// `circuit_breaker("x", when = ..)`
    pub breaker_when: bool,
}

/// A stage that an attribute asks for.
#[derive(Debug)]
pub struct StageUse {
    /// The kind of its component.
    pub kind: Kind,
    /// The component's name; the operation's where there is none.
    pub name: Option<&'static str>,
    /// The inline settings.
    pub settings: &'static [Setting],
}

/// Where in the source; ordered by file, then line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    file: &'static str,
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One annotated function.
#[derive(Debug)]
pub struct Site {
    meta: SiteMeta,
    pipeline: OnceCell<Box<dyn Resolved>>,
}

/// The stages of a site. Behind a trait object, because rustc would prove anew for each site that all of them are `Sync`: a
/// tenth of what a site costs to check.
trait Resolved: Send + Sync + fmt::Debug {
    fn pipeline(&self) -> &Pipeline;
}

impl Resolved for Pipeline {
    fn pipeline(&self) -> &Pipeline {
        self
    }
}

impl Site {
    /// A site that has not been called yet.
    pub const fn new(meta: SiteMeta) -> Self {
        Self { meta, pipeline: OnceCell::new() }
    }

    /// What the attribute said.
    pub fn meta(&self) -> &SiteMeta {
        &self.meta
    }

    /// The stages, made by `make` at the first call.
    #[inline]
    pub(crate) fn pipeline_or(&'static self, make: impl FnOnce() -> Pipeline) -> &'static Pipeline {
        let resolved = self.pipeline.get_or_init(|| {
            join(self);
            Box::new(make())
        });
        resolved.pipeline()
    }

    pub(crate) fn resolved(&self) -> Option<&Pipeline> {
        self.pipeline.get().map(|resolved| resolved.pipeline())
    }

    pub(crate) fn place(&self) -> Place {
        Place { file: self.meta.file, line: self.meta.line }
    }

    /// `name = ".."`, else the path of the function; with its line where two functions have the same path,
    /// as methods of different types in one module have, and with its type where a macro has made them in one line.
    pub(crate) fn operation_name(&'static self) -> String {
        if let Some(name) = self.meta.name {
            return name.to_owned();
        }
        let has_my_path = |other: &&Site| {
            let (mine, its) = (&self.meta, &other.meta);
            !std::ptr::eq(*other, self)
                && (its.module, its.function, its.name) == (mine.module, mine.function, None)
        };
        let twins: Vec<_> = all().into_iter().filter(has_my_path).collect();
        if twins.iter().any(|twin| twin.place() == self.place()) {
            let inside = (self.meta.inside)();
            return inside.split_once(INSIDE).map_or(inside, |(path, _)| path).to_owned();
        }
        let path = format!("{}::{}", self.meta.module, self.meta.function);
        if twins.is_empty() { path } else { format!("{path}:{}", self.meta.line) }
    }
}

/// What the link-time list holds.
#[cfg(feature = "inventory")]
#[derive(Debug)]
pub struct SiteHook(pub &'static Site);

#[cfg(feature = "inventory")]
inventory::collect!(SiteHook);

/// Sites that the link-time list does not have: where there is no such list, they join at their first call.
static JOINED: std::sync::LazyLock<Mutex<Vec<&'static Site>>> = std::sync::LazyLock::new(Mutex::default);

fn join(site: &'static Site) {
    if !listed().any(|other| std::ptr::eq(other, site)) {
        let mut joined = JOINED.lock();
        if !joined.iter().any(|other| std::ptr::eq(*other, site)) {
            joined.push(site);
        }
    }
}

#[cfg(feature = "inventory")]
fn listed() -> impl Iterator<Item = &'static Site> {
    inventory::iter::<SiteHook>.into_iter().map(|hook| hook.0)
}

#[cfg(not(feature = "inventory"))]
fn listed() -> impl Iterator<Item = &'static Site> {
    std::iter::empty()
}

/// All annotated functions, in the order of their places.
pub(crate) fn all() -> Vec<&'static Site> {
    let mut sites: Vec<_> = listed().chain(JOINED.lock().iter().copied()).collect();
    sites.sort_by_key(|site| site.place());
    sites
}

/// What any site says about a component, by the name of the component as `matches` reads it: the settings, where it gives
/// any.
pub(crate) fn candidates(kind: Kind, matches: impl Fn(&str) -> bool) -> Vec<&'static [Setting]> {
    named(kind).into_iter().filter(|(name, _)| matches(name)).map(|(_, settings)| settings).collect()
}

/// The names that sites give to components of a kind.
pub(crate) fn named(kind: Kind) -> Vec<(String, &'static [Setting])> {
    let stages = all().into_iter().flat_map(|site| site.meta.stages.iter().map(move |stage| (site, stage)));
    let named = stages.filter(|(_, stage)| stage.kind == kind).map(|(site, stage)| {
        let name = stage.name.map_or_else(|| site.operation_name(), str::to_owned);
        (name, stage.settings)
    });
    named.collect()
}

/// Where sites of the process's registry give settings for a component by its name.
pub(crate) fn definitions(kind: Kind, name: &str) -> Vec<(&'static [Setting], Place)> {
    let stages = all()
        .into_iter()
        .filter(|site| !site.meta.own_registry)
        .flat_map(|site| site.meta.stages.iter().map(move |stage| (stage, site.place())));
    stages
        .filter(|(stage, _)| stage.kind == kind && stage.name == Some(name) && !stage.settings.is_empty())
        .map(|(stage, place)| (stage.settings, place))
        .collect()
}
