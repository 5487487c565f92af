//! Sites: the functions annotated with `#[resilient]`.
//!
//! Each site is a static that is collected at link time, so all sites are known before their first call. A site looks
//! its components up at its first call and stores them; later calls cost one atomic load.

use std::fmt;

use once_cell::sync::OnceCell;

use crate::component::Kind;
use crate::level::Level;
use crate::membership::Membership;
use crate::pipeline::Pipeline;
use crate::settings::Setting;
use crate::sync::Mutex;

/// The suffix after the path of the function in the path of the item inside it.
const INSIDE: &str = "::__RESILIENT_SITE";

/// The arguments of the attribute and the location of the function.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // one field for each flag of the attribute
pub struct SiteMeta {
    /// The function's name.
    pub function: &'static str,
    /// The path of the function's module.
    pub module: &'static str,
    /// The source file of the function.
    pub file: &'static str,
    /// The line of the function.
    pub line: u32,
    /// Returns the path of an item inside the function. For a method it contains the type.
    pub inside: fn() -> &'static str,
    /// `name = ".."`
    pub name: Option<&'static str>,
    /// Whether the function is an `async fn` or returns a future.
    pub asynchronous: bool,
    /// `idempotent`
    pub idempotent: bool,
    /// `registry = ..`
    pub own_registry: bool,
    /// The stages that the attribute lists.
    pub stages: &'static [StageUse],
    /// The fallback levels, in the order of the chain.
    pub levels: &'static [Level],
    /// Whether the levels include the built-in local cache.
    pub keeps: bool,
    /// `retry(when = ..)`
    pub retry_when: bool,
    /// `circuit_breaker("x", when = ..)`
    pub breaker_when: bool,
}

/// A stage that an attribute lists.
#[derive(Debug)]
pub struct StageUse {
    /// The kind of the component.
    pub kind: Kind,
    /// The name of the component. `None` means the name of the operation.
    pub name: Option<&'static str>,
    /// The inline settings.
    pub settings: &'static [Setting],
}

/// A source location, ordered by file, then line.
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
    #[cfg(feature = "chaos")]
    membership: Membership,
    pipeline: OnceCell<Box<dyn Resolved>>,
}

/// The stages of a site.
///
/// A trait object, because otherwise rustc proves for each site that every stage is `Sync`. That proof is a tenth of
/// the time it takes to check a site.
trait Resolved: Send + Sync + fmt::Debug {
    fn pipeline(&self) -> &Pipeline;
}

impl Resolved for Pipeline {
    fn pipeline(&self) -> &Pipeline {
        self
    }
}

impl Site {
    /// Creates a site that has not been called yet.
    pub const fn new(meta: SiteMeta) -> Self {
        Self {
            meta,
            #[cfg(feature = "chaos")]
            membership: Membership::Target,
            pipeline: OnceCell::new(),
        }
    }

    /// Sets whether faults affect the function.
    #[must_use]
    #[cfg(feature = "chaos")]
    pub const fn chaos(mut self, membership: Membership) -> Self {
        self.membership = membership;
        self
    }

    /// Has no effect without the feature `chaos`.
    #[must_use]
    #[cfg(not(feature = "chaos"))]
    pub const fn chaos(self, _: Membership) -> Self {
        self
    }

    #[cfg(feature = "chaos")]
    pub(crate) fn membership(&self) -> Membership {
        self.membership
    }

    /// Returns the arguments of the attribute.
    pub fn meta(&self) -> &SiteMeta {
        &self.meta
    }

    /// Returns the stages, and creates them with `make` at the first call.
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

    /// Returns the path of the function. For a method it contains the type.
    pub(crate) fn path(&self) -> &'static str {
        let inside = (self.meta.inside)();
        inside.split_once(INSIDE).map_or(inside, |(path, _)| path)
    }

    /// Returns `name = ".."`, or the path of the function if there is no name.
    ///
    /// Methods of different types in one module have the same path; then the line is added. A macro can generate
    /// several on one line; then the path contains the type.
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
            return self.path().to_owned();
        }
        let path = format!("{}::{}", self.meta.module, self.meta.function);
        if twins.is_empty() { path } else { format!("{path}:{}", self.meta.line) }
    }
}

/// An entry of the link-time list.
#[cfg(feature = "inventory")]
#[derive(Debug)]
pub struct SiteHook(pub &'static Site);

#[cfg(feature = "inventory")]
inventory::collect!(SiteHook);

/// Sites that are missing from the link-time list. They are added at their first call.
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

/// Returns all sites, ordered by source location.
pub(crate) fn all() -> Vec<&'static Site> {
    let mut sites: Vec<_> = listed().chain(JOINED.lock().iter().copied()).collect();
    sites.sort_by_key(|site| site.place());
    sites
}

/// Returns the settings that sites give to components of `kind` whose name satisfies `matches`. They can be empty.
pub(crate) fn candidates(kind: Kind, matches: impl Fn(&str) -> bool) -> Vec<&'static [Setting]> {
    named(kind).into_iter().filter(|(name, _)| matches(name)).map(|(_, settings)| settings).collect()
}

/// Returns the names and settings that sites give to components of `kind`.
pub(crate) fn named(kind: Kind) -> Vec<(String, &'static [Setting])> {
    let stages = all().into_iter().flat_map(|site| site.meta.stages.iter().map(move |stage| (site, stage)));
    let named = stages.filter(|(_, stage)| stage.kind == kind).map(|(site, stage)| {
        let name = stage.name.map_or_else(|| site.operation_name(), str::to_owned);
        (name, stage.settings)
    });
    named.collect()
}

/// Returns the settings that sites of the global registry give to the component `name`, with their source locations.
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
