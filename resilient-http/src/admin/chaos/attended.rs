//! Aborts an attended experiment, and stops an attended monkey, that no client follows any more.

use std::time::Duration;

use tokio::sync::watch;

/// How long an attended experiment waits for the first client that follows its journal.
const FIRST: Duration = Duration::from_secs(10);
/// How long an attended experiment runs on without a client that follows its journal.
const AGAIN: Duration = Duration::from_secs(2);

/// Counts a client that follows a journal, until it is dropped.
#[derive(Debug)]
pub(super) struct Follower(watch::Sender<usize>);

impl Follower {
    pub(super) fn new(followers: &watch::Sender<usize>) -> Self {
        followers.send_modify(|count| *count += 1);
        Self(followers.clone())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Waits until no client follows any more. Returns the reason for the abort.
pub(super) async fn lost(mut followers: watch::Receiver<usize>) -> String {
    let mut limit = FIRST;
    loop {
        let follows = followers.wait_for(|count| *count > 0);
        let has_none = !matches!(tokio::time::timeout(limit, follows).await, Ok(Ok(_)));
        if has_none {
            let seconds = limit.as_secs();
            return match limit {
                FIRST => format!("attended, but no client followed its journal within {seconds} s"),
                _ => format!("attended, and no client has followed its journal for {seconds} s"),
            };
        }
        limit = AGAIN;
        // The sender lives as long as the experiment is known. Without it, no client can follow.
        if followers.wait_for(|count| *count == 0).await.is_err() {
            return "attended, but it is not known any more".to_owned();
        }
    }
}
