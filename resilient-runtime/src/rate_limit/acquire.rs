//! Takes tokens, at once or after waiting.

use std::hash::Hash;
use std::time::Duration;

use super::{RateLimiter, Request, Token, Turn};
use crate::clock::Instant;
use crate::context::Scope;
use crate::rejection::Rejection;
use crate::sync::Ordering;

impl RateLimiter {
    /// Takes a token if one is available now.
    ///
    /// If the limit is shared by a store, it can block the thread for up to the `timeout` of the store. In asynchronous
    /// code, use [`acquire`](Self::acquire) then.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, RejectionKind, rate_limit::{Config, Rate}};
    /// # let mail = Registry::new().rate_limiter("mail");
    /// mail.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let token = mail.try_acquire().unwrap();
    /// assert_eq!(mail.try_acquire().unwrap_err().kind(), RejectionKind::RateLimited);
    /// token.give_back(); // nothing was sent after all
    /// assert!(mail.try_acquire().is_ok());
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if no token is available.
    #[inline]
    pub fn try_acquire(&self) -> Result<Token<'_>, Rejection> {
        self.try_token(Request::ONE)
    }

    /// Like [`try_acquire`](Self::try_acquire), for a call that weighs more than 1.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let rows = Registry::new().rate_limiter("rows");
    /// rows.reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(rows.try_acquire_weighted(400).is_ok());
    /// assert!(rows.try_acquire_weighted(400).is_err());
    /// assert!(rows.try_acquire_weighted(100).is_ok());
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if fewer than `weight` tokens are available.
    pub fn try_acquire_weighted(&self, weight: u32) -> Result<Token<'_>, Rejection> {
        self.try_token(Request::ONE.with_weight(weight))
    }

    /// Like [`try_acquire`](Self::try_acquire), with the limit of this key.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let search = Registry::new().rate_limiter("search");
    /// search.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(search.try_acquire_key(&("tenant", 7)).is_ok());
    /// assert!(search.try_acquire_key(&("tenant", 8)).is_ok());
    /// let refused = search.try_acquire_key(&("tenant", 7)).unwrap_err();
    /// assert!(refused.retry_after().is_some());
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the key has no token available.
    #[inline]
    pub fn try_acquire_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        self.try_token(self.request(key))
    }

    /// Takes a token from each limiter, or from none of them.
    ///
    /// ```
    /// use resilient_runtime::{Component, RateLimiter, Registry, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let (second, day) = (registry.rate_limiter("second"), registry.rate_limiter("day"));
    /// second.reconfigure(Config::default().rate("9/s".parse::<Rate>().unwrap())).unwrap();
    /// day.reconfigure(Config::default().rate("1/d".parse::<Rate>().unwrap())).unwrap();
    /// assert_eq!(RateLimiter::try_acquire_all(&[&second, &day]).unwrap().len(), 2);
    /// assert_eq!(RateLimiter::try_acquire_all(&[&second, &day]).unwrap_err().component(), "day");
    /// assert_eq!(second.check_weighted(0).remaining, 8, "the token was returned");
    /// ```
    ///
    /// # Errors
    /// Returns the rejection of the first limiter without a token, and returns the tokens already taken to the
    /// others.
    pub fn try_acquire_all<'a>(limiters: &[&'a Self]) -> Result<Vec<Token<'a>>, Rejection> {
        let mut tokens = Vec::with_capacity(limiters.len());
        for limiter in limiters {
            match limiter.try_acquire() {
                Ok(token) => tokens.push(token),
                Err(rejection) => {
                    tokens.into_iter().for_each(Token::give_back);
                    return Err(rejection);
                }
            }
        }
        Ok(tokens)
    }

    /// Takes a token and waits for it for up to `max_wait`.
    ///
    /// It does not wait past the deadline of an enclosing protected call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::{Component, Registry, clock::Clock, rate_limit::{Config, Rate}};
    /// # let crawl = Registry::with_clock(Clock::tokio()).rate_limiter("crawl");
    /// let rate = Config::default().rate("1/s".parse::<Rate>().unwrap());
    /// crawl.reconfigure(rate.max_wait(Duration::from_secs(1))).unwrap();
    /// let began = tokio::time::Instant::now();
    /// assert!(crawl.acquire().await.is_ok() && crawl.acquire().await.is_ok());
    /// assert!(began.elapsed() >= Duration::from_secs(1), "the second call waited");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future passes the turn to the next waiting call.
    ///
    /// # Errors
    /// Returns a rejection if the wait would be too long, or if the queue is full.
    pub async fn acquire(&self) -> Result<Token<'_>, Rejection> {
        self.token(Request::ONE).await
    }

    /// Like [`acquire`](Self::acquire), for a call that weighs more than 1.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let rows = Registry::new().rate_limiter("rows");
    /// rows.reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(rows.acquire_weighted(500).await.is_ok());
    /// assert!(rows.acquire_weighted(501).await.is_err(), "more than the limit");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// Same as [`acquire`](Self::acquire). A call that weighs more than the limit is rejected at once.
    pub async fn acquire_weighted(&self, weight: u32) -> Result<Token<'_>, Rejection> {
        self.token(Request::ONE.with_weight(weight)).await
    }

    /// Like [`acquire`](Self::acquire), with the limit of this key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let export = Registry::new().rate_limiter("export");
    /// export.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(export.acquire_key("ada").await.is_ok());
    /// assert!(export.acquire_key("ada").await.is_err(), "without `max_wait` calls do not wait");
    /// assert!(export.acquire_key("bob").await.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// Same as [`acquire`](Self::acquire).
    pub async fn acquire_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        self.token(self.request(key)).await
    }

    /// Like [`acquire`](Self::acquire), but blocks the thread.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let poll = Registry::new().rate_limiter("poll");
    /// let rate = Config::default().rate("500/s".parse::<Rate>().unwrap()).burst(1);
    /// poll.reconfigure(rate.max_wait(Duration::from_secs(9))).unwrap();
    /// let began = std::time::Instant::now();
    /// assert!((0..3).all(|_| poll.acquire_blocking().is_ok()));
    /// assert!(began.elapsed() >= Duration::from_millis(3), "2 ms between any two");
    /// ```
    ///
    /// # Errors
    /// Same as [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self) -> Result<Token<'_>, Rejection> {
        self.token_blocking(Request::ONE)
    }

    /// Like [`acquire_blocking`](Self::acquire_blocking), for a call that weighs more than 1.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let rows = Registry::new().rate_limiter("rows");
    /// rows.reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(rows.acquire_blocking_weighted(400).is_ok());
    /// assert!(rows.acquire_blocking_weighted(400).is_err(), "without `max_wait` calls do not wait");
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the wait would be too long, or if the queue is full. A call that weighs more than the
    /// limit is rejected at once.
    pub fn acquire_blocking_weighted(&self, weight: u32) -> Result<Token<'_>, Rejection> {
        self.token_blocking(Request::ONE.with_weight(weight))
    }

    /// Like [`acquire_blocking`](Self::acquire_blocking), with the limit of this key.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let export = Registry::new().rate_limiter("export");
    /// export.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(export.acquire_blocking_key("ada").is_ok());
    /// assert!(export.acquire_blocking_key("ada").is_err());
    /// assert!(export.acquire_blocking_key("bob").is_ok());
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the wait would be too long, or if the queue is full.
    pub fn acquire_blocking_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        self.token_blocking(self.request(key))
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    #[inline]
    pub(super) fn try_token(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let now = self.core.clock().now();
        match self.take_cell(request, now) {
            Some(Ok(mark)) => Ok(Token::new(self, request, mark)),
            Some(Err(wait)) => self.not_taken(request, Some(wait)),
            None => self.try_token_slowly(request, now),
        }
    }

    #[inline(never)]
    fn try_token_slowly(&self, request: Request, now: Instant) -> Result<Token<'_>, Rejection> {
        match self.try_take_slowly(request, now) {
            Ok(mark) => Ok(Token::new(self, request, mark)),
            Err(wait) => self.not_taken(request, wait),
        }
    }

    /// Rejects the call, unless the store of a shared limit must be asked.
    #[cold]
    #[inline(never)]
    fn not_taken(&self, request: Request, wait: Option<Duration>) -> Result<Token<'_>, Rejection> {
        if self.is_final(wait) {
            return Err(self.refuse(request, wait));
        }
        let mark = Turn::at_once(self, request).block()?;
        Ok(Token::new(self, request, mark))
    }

    pub(super) async fn token(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let mark = match self.try_take(request, self.core.clock().now()) {
            Ok(mark) => mark,
            Err(wait) if self.never_waits() && self.is_final(wait) => {
                return Err(self.refuse(request, wait));
            }
            Err(_) => self.turn(request, self.inherited()).await?,
        };
        Ok(Token::new(self, request, mark))
    }

    pub(super) fn token_blocking(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let mark = match self.try_take(request, self.core.clock().now()) {
            Ok(mark) => mark,
            Err(wait) if self.never_waits() && self.is_final(wait) => {
                return Err(self.refuse(request, wait));
            }
            Err(_) => {
                let mut turn = self.turn(request, self.inherited());
                let taken = turn.block();
                if turn.has_waited() {
                    self.core.clock().warn_of_blocking(self.core.name);
                }
                taken?
            }
        };
        Ok(Token::new(self, request, mark))
    }

    /// Whether a call that cannot wait is rejected without a request to a store: the store has told the wait before.
    fn is_final(&self, wait: Option<Duration>) -> bool {
        self.shared().is_none() || wait.is_some_and(|wait| !wait.is_zero())
    }

    fn never_waits(&self) -> bool {
        self.max_wait.load(Ordering::Relaxed) == 0
    }
}
