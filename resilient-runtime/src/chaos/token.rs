//! Tokens that select the calls of single requests.

use std::fmt;
use std::sync::Arc;

use crate::context::{self, Enter, Scoped, scoped};

/// The longest token, in bytes.
const LONGEST: usize = 64;

/// Selects the calls of single requests as the target of faults.
///
/// A fault with [`Fault::header_token`](super::Fault::header_token) affects only calls in the scope of an equal token.
/// The `FaultTokenLayer` of `resilient-http` opens the scope for requests of trusted peers. The scope belongs to the
/// context of the call, like the correlation id: retries and nested calls have it, and [`carry`](crate::carry) passes it
/// to another task.
///
/// A token is no secret. It selects calls, and permits nothing: only who can arm a fault decides what the token does.
/// It is therefore shown in the list of faults and compared like any other text.
///
/// ```
/// use resilient_runtime::{Class, Registry, chaos::{Fault, FaultToken}};
///
/// let registry = Registry::new();
/// let load = registry.pipeline("load").build();
/// let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load").header_token("ada-7")).unwrap();
/// assert_eq!(load.call(|| Some(7)), Some(7));
/// let token = FaultToken::parse("ada-7").unwrap();
/// assert_eq!(token.scope(|| load.call(|| Some(7))), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultToken(Arc<str>);

impl FaultToken {
    /// Reads a token: 1 to 64 letters, digits, `.`, `_` and `-`. Returns `None` for any other text.
    ///
    /// ```
    /// use resilient_runtime::chaos::FaultToken;
    ///
    /// assert_eq!(FaultToken::parse("ada-7").unwrap().as_str(), "ada-7");
    /// assert!(FaultToken::parse("").is_none() && FaultToken::parse("a b").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=LONGEST).contains(&text.len()) && text.bytes().all(is_token)).then(|| Self(text.into()))
    }

    /// Returns the text.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::chaos::FaultToken::parse("7").unwrap().as_str(), "7");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the token of the enclosing scope.
    ///
    /// ```
    /// use resilient_runtime::chaos::FaultToken;
    ///
    /// assert!(FaultToken::current().is_none());
    /// ```
    pub fn current() -> Option<Self> {
        context::token().map(Self)
    }

    /// Runs `work` with this token.
    ///
    /// ```
    /// use resilient_runtime::chaos::FaultToken;
    ///
    /// let token = FaultToken::parse("ada-7").unwrap();
    /// assert_eq!(token.scope(FaultToken::current), Some(token.clone()));
    /// ```
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        work()
    }

    /// Polls `work` with this token.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::chaos::FaultToken;
    ///
    /// let token = FaultToken::parse("ada-7").unwrap();
    /// let work = async { tokio::spawn(resilient_runtime::carry(async { FaultToken::current() })).await.unwrap() };
    /// assert_eq!(token.clone().scope_async(work).await, Some(token));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work.
    pub fn scope_async<F: Future>(self, work: F) -> Scoped<F, Self> {
        scoped(self, work)
    }
}

impl fmt::Display for FaultToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Enter for FaultToken {
    fn enter(&self) -> impl Sized + use<> {
        context::enter_token(Arc::clone(&self.0))
    }
}
