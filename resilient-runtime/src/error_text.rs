//! Captures the texts of errors when a call fails: truncated, on one line, and redacted as configured.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::rejection::Mark;

/// Maximum length of a stored error text, in bytes.
///
/// ```
/// use std::io::Error;
/// use resilient_runtime::{Registry, Verdict, observe::ERROR_TEXT_BYTES};
///
/// let pipeline = Registry::new().pipeline("order").build();
/// let fails = || Err::<u32, _>(Error::other("x".repeat(10_000)));
/// pipeline.request().judge(Verdict::of).describe(|error: &Error, words| words.error(error)).call(fails).unwrap_err();
/// assert_eq!(pipeline.stats().last_error.unwrap().text.len(), ERROR_TEXT_BYTES);
/// ```
pub const ERROR_TEXT_BYTES: usize = 256;

/// Maximum number of bytes read of an error. A redactor receives more than is stored, so that no secret is truncated
/// before the redactor can recognize it.
const READ: usize = 4096;
/// Maximum number of sources of an error that are followed.
const CAUSES: usize = 16;

/// The rule for storing error texts in statistics, events, logs, spans and rejections.
///
/// The text of an error can contain request data or a secret, such as a URL with a password. Each registry has one rule
/// for all error texts; see [`Registry::set_error_text`](crate::Registry::set_error_text).
///
/// ```
/// use std::io::Error;
/// use resilient_runtime::{Registry, Verdict, observe::ErrorText};
///
/// let registry = Registry::new();
/// registry.set_error_text(ErrorText::redacted(|text| text.replace("hunter2", "***")));
/// let pipeline = registry.pipeline("login").build();
/// let refused = || Err::<(), _>(Error::other("wrong password hunter2"));
/// pipeline.request().judge(Verdict::of).describe(|error: &Error, words| words.error(error)).call(refused).unwrap_err();
/// assert_eq!(pipeline.stats().last_error.unwrap().text, "wrong password ***");
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum ErrorText {
    /// Stores the text of the error and of its sources.
    #[default]
    Full,
    /// Stores no text.
    Off,
    /// Stores the text that a function returns. If the function panics, no text is stored.
    Redacted(Arc<dyn Fn(&str) -> String + Send + Sync>),
}

impl ErrorText {
    /// Creates a rule that passes every text through `redact`.
    ///
    /// ```
    /// use resilient_runtime::observe::ErrorText;
    ///
    /// let digits = ErrorText::redacted(|text| text.replace(|c: char| c.is_ascii_digit(), "#"));
    /// assert_eq!(format!("{digits:?}"), "Redacted");
    /// ```
    pub fn redacted(redact: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::Redacted(Arc::new(redact))
    }
}

impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "Full",
            Self::Off => "Off",
            Self::Redacted(_) => "Redacted",
        })
    }
}

/// A writer for the text of an error.
///
/// ```
/// use resilient_runtime::{Registry, Verdict, observe::Words};
///
/// let pipeline = Registry::new().pipeline("disk").build();
/// let read = || std::fs::read("/no/such/file");
/// pipeline.request().judge(Verdict::by_class).describe(|error, words: &mut Words| words.error(error)).call(read).unwrap_err();
/// assert!(pipeline.stats().last_error.unwrap().text.contains("No such file"));
/// ```
#[derive(Debug)]
pub struct Words {
    text: String,
}

impl Words {
    /// Writes an error and its sources, joined by `: `.
    ///
    /// Omits a source whose text is already contained in what has been written.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let pipeline = Registry::new().pipeline("disk").build();
    /// let full = || Err::<u32, _>(Error::new(ErrorKind::StorageFull, "the disk is full"));
    /// pipeline.request().judge(Verdict::of).describe(|error: &Error, words| words.error(error)).call(full).unwrap_err();
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the disk is full");
    /// ```
    pub fn error<'a>(&mut self, error: &(dyn Error + 'a)) {
        self.display(&error);
        let mut next = error.source();
        for _ in 0..CAUSES {
            let Some(source) = next else { return };
            next = source.source();
            // The mark of a rejection only repeats its text.
            if source.is::<Mark>() {
                continue;
            }
            let before = self.text.len();
            if before > 0 {
                self.display(&": ");
            }
            let start = self.text.len();
            self.display(&source);
            let (said, new) = self.text.split_at(start);
            if new.is_empty() || said[..before].contains(new) {
                self.text.truncate(before);
            }
        }
    }

    /// Writes a value with [`Display`](fmt::Display).
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let pipeline = Registry::new().pipeline("order").build();
    /// assert!(pipeline.request().judge(Verdict::of).describe(|(), words| words.display(&503)).call(|| None::<u32>).is_none());
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "503");
    /// ```
    pub fn display(&mut self, what: &dyn fmt::Display) {
        // An error means that the text is full, or that the implementation of `Display` failed.
        let _ = write!(self, "{what}");
    }

    /// Writes a value with [`Debug`](fmt::Debug).
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let pipeline = Registry::new().pipeline("order").build();
    /// assert!(pipeline.request().judge(Verdict::of).describe(|(), words| words.debug(&Some(503))).call(|| None::<u32>).is_none());
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "Some(503)");
    /// ```
    pub fn debug(&mut self, what: &dyn fmt::Debug) {
        let _ = write!(self, "{what:?}");
    }

    /// Writes the type of a failed outcome, if nothing else is known about it.
    pub(crate) fn type_of<R>(&mut self) {
        let name = std::any::type_name::<R>();
        if name.starts_with("core::option::Option<") {
            self.display(&NOTHING);
        } else {
            let _ = write!(self, "a failed `{name}`");
        }
    }
}

/// The text of a failure without an error.
pub(crate) const NOTHING: &str = "it returned nothing";

impl fmt::Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let cut = text.floor_char_boundary(READ - self.text.len().min(READ));
        self.text.push_str(&text[..cut]);
        if cut < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Captures texts according to the rule of a registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rule: RwLock<ErrorText>,
    panics: AtomicU64,
}

thread_local! {
    /// Reused buffers, so that a failed call does not allocate for its text.
    static SPARE: Cell<(String, String)> = const { Cell::new((String::new(), String::new())) };
}

impl Texts {
    pub(crate) fn set(&self, rule: ErrorText) {
        *self.0.rule.write().unwrap_or_else(PoisonError::into_inner) = rule;
    }

    pub(crate) fn rule(&self) -> ErrorText {
        self.0.rule.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of panics in `Display` implementations of errors and in redactors.
    pub(crate) fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// Captures the text that `write` writes, applies the rule, and passes it to `then`. `None` if no text may be
    /// stored.
    #[cold]
    pub(crate) fn capture<R>(
        &self,
        write: impl FnOnce(&mut Words),
        then: impl FnOnce(Option<&str>) -> R,
    ) -> R {
        let rule = self.rule();
        if matches!(rule, ErrorText::Off) {
            return then(None);
        }
        // Taken rather than borrowed, because `write` can run calls that fail, too.
        let (mut text, mut kept) = SPARE.try_with(Cell::take).unwrap_or_default();
        text.clear();
        kept.clear();
        let mut words = Words { text };
        let written = self.caught(|| write(&mut words));
        match (&rule, written) {
            (ErrorText::Full, Some(())) => keep(&words.text, &mut kept),
            (ErrorText::Redacted(redact), Some(())) if !words.text.is_empty() => {
                if let Some(redacted) = self.caught(|| redact(&words.text)) {
                    keep(&redacted, &mut kept);
                }
            }
            _ => {}
        }
        let result = then((!kept.is_empty()).then_some(&kept));
        let _ = SPARE.try_with(|spare| spare.set((words.text, kept)));
        result
    }

    /// Applies the rule to a text.
    pub(crate) fn clean(&self, text: &str) -> Option<String> {
        self.capture(|words| words.display(&text), |text| text.map(str::to_owned))
    }

    fn caught<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(work));
        result
            .map_err(|panic| {
                self.0.panics.fetch_add(1, Ordering::Relaxed);
                // Dropping it could also panic.
                std::mem::forget(panic);
            })
            .ok()
    }
}

/// Appends `text` on one line and truncated to [`ERROR_TEXT_BYTES`].
///
/// Control characters are escaped, so the text cannot inject log lines or change the text direction.
fn keep(text: &str, kept: &mut String) {
    let text = text.trim();
    // The fast path for nearly every error text. Escaping each character takes ten times as long.
    if text.len() <= ERROR_TEXT_BYTES && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        kept.push_str(text);
    } else {
        escape(text, kept);
    }
}

#[cold]
fn escape(text: &str, kept: &mut String) {
    const MORE: char = '…';
    for char in text.chars() {
        let before = kept.len();
        if is_harmful(char) {
            kept.extend(char.escape_default());
        } else {
            kept.push(char);
        }
        if kept.len() > ERROR_TEXT_BYTES {
            kept.truncate(before.min(kept.floor_char_boundary(ERROR_TEXT_BYTES - MORE.len_utf8())));
            kept.push(MORE);
            return;
        }
    }
}

fn is_harmful(char: char) -> bool {
    let is_directing =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || is_directing || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        Layer { text, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    fn text_of(error: &Layer) -> String {
        Texts::default().capture(|words| words.error(error), |text| text.unwrap_or_default().to_owned())
    }

    #[test]
    fn the_text_contains_each_source_once() {
        assert_eq!(
            text_of(&layers(&["query failed", "connection refused"])),
            "query failed: connection refused"
        );
        assert_eq!(text_of(&layers(&["query failed: refused", "refused"])), "query failed: refused");
        assert_eq!(text_of(&layers(&["refused", "refused", "by host"])), "refused: by host");
        assert_eq!(text_of(&layers(&["", "refused"])), "refused");
    }

    #[test]
    fn a_text_is_truncated_to_256_bytes_between_characters() {
        for text in
            ["x".repeat(257), "ü".repeat(200), "€".repeat(5000), "\n".repeat(300), "\u{1f980}".repeat(99)]
        {
            let kept = Texts::default().clean(&text.replace('\n', "\u{7}")).unwrap();
            assert!(kept.len() <= ERROR_TEXT_BYTES && kept.len() > ERROR_TEXT_BYTES - 12, "{}", kept.len());
            assert!(kept.ends_with('…'));
        }
        assert_eq!(Texts::default().clean(&"x".repeat(256)).unwrap(), "x".repeat(256));
    }

    #[test]
    fn line_breaks_and_direction_marks_are_escaped() {
        // Prevents log injection.
        let hostile = "a\nERROR forged\r\u{1b}[31m\u{202e}b\u{2028}c";
        let kept = Texts::default().clean(hostile).unwrap();
        assert_eq!(kept, r"a\nERROR forged\r\u{1b}[31m\u{202e}b\u{2028}c");
    }

    #[test]
    fn after_a_panic_there_is_no_text() {
        struct Panics;
        impl fmt::Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                std::panic::resume_unwind(Box::new("the text panicked"))
            }
        }
        let texts = Texts::default();
        texts.capture(|words| words.display(&Panics), |text| assert_eq!(text, None));
        texts.set(ErrorText::redacted(|_| std::panic::resume_unwind(Box::new("the redactor panicked"))));
        assert_eq!((texts.clean("secret"), texts.panics()), (None, 2));
        texts.set(ErrorText::Off);
        assert_eq!(texts.clean("secret"), None);
    }

    #[test]
    fn a_redactor_receives_the_text_before_it_is_truncated() {
        // Half a secret is still a secret.
        let texts = Texts::default();
        texts.set(ErrorText::redacted(|text| text.replace("password", "***")));
        let text = format!("{}password", "x".repeat(250));
        assert!(!texts.clean(&text).unwrap().contains("pas"));
    }
}
