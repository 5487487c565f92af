//! Rules about claims, results, and claims that do not match the record.

use std::time::Duration;

use super::{Bench, Checked, LONG, Rule, SHORT};
use crate::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore};
use crate::testing::race;

/// Number of concurrent claims of a key.
const CALLERS: usize = 32;
/// The largest result, in bytes: the default of `max_value`.
const LARGE: usize = 64 << 10;

impl<S: IdempotencyStore + ?Sized, P: AsyncFn(Duration)> Bench<'_, S, P> {
    pub(in crate::testing) async fn claims(&self) -> Checked {
        let rule = Rule("a claimed key is in progress");
        let key = self.key();
        self.acquire(rule, self.claim(&key)).await?;
        match self.store.claim(self.claim(&key)).await {
            Ok(Claimed::InProgress { retry_after }) if !retry_after.is_zero() && retry_after <= LONG => {}
            found => return Err(rule.broken("a second claim", "`InProgress` within the lease", &found)),
        }
        let takes_over = Claim { takes_over: true, ..self.claim(&key) };
        self.in_progress(rule, "`takes_over` during the lease", takes_over).await?;

        let rule = Rule("keys that differ in one byte are different keys");
        let base = self.key();
        let long = format!("{base}{}", "x".repeat(900));
        let differing = ["", "\0", " ", ":", "é", "É", "e\u{301}", "{a}", "*", "\n", "\u{10ffff}"];
        for end in differing {
            self.acquire(rule, self.claim(&format!("{base}{end}"))).await?;
            self.acquire(rule, self.claim(&format!("{long}{end}"))).await?;
        }

        let rule = Rule("one of several concurrent claims of a key succeeds");
        for _ in 0..4 {
            let key = self.key();
            let claims = (0..CALLERS).map(|_| self.store.claim(self.claim(&key))).collect();
            let (mut acquired, mut waiting) = (0, 0);
            for found in race::all(claims).await {
                match found {
                    Ok(Claimed::Acquired) => acquired += 1,
                    Ok(Claimed::InProgress { .. }) => waiting += 1,
                    found => return Err(rule.broken("a claim", "`Acquired` or `InProgress`", &found)),
                }
            }
            rule.of("(acquired, in progress)", (acquired, waiting), &(1, CALLERS - 1))?;
        }
        Ok(())
    }

    pub(in crate::testing) async fn results(&self) -> Checked {
        let rule = Rule("a result is replayed unchanged");
        let every: Vec<u8> = (0..=u8::MAX).collect();
        let large: Vec<u8> = every.iter().copied().cycle().take(LARGE).collect();
        for answer in [Vec::new(), vec![0], b"null".to_vec(), b"\r\n".to_vec(), every, large] {
            let key = self.completed(rule, &answer).await?;
            for _ in 0..2 {
                let found = self.store.claim(self.claim(&key)).await;
                rule.of("a claim after the result", found, &Ok(Claimed::Done(answer.clone())))?;
            }
        }

        let rule = Rule("a result is stored until its `ttl` ends");
        let key = self.key();
        let owner = self.acquire(rule, self.claim(&key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], SHORT)).await?;
        self.pass().await;
        // The expired record counts as missing, so its payload is not compared.
        self.acquire(rule, Claim { fingerprint: Fingerprint(8), ..self.claim(&key) }).await?;
        let kept = self.key();
        let owner = self.acquire(rule, self.short(&kept)).await?;
        rule.yes("complete", self.store.complete(&kept, owner, vec![1], LONG)).await?;
        self.pass().await;
        let found = self.store.claim(self.claim(&kept)).await;
        rule.of("a claim after the lease and before the end of `ttl`", found, &Ok(Claimed::Done(vec![1])))?;

        // T112
        let rule = Rule("a `ttl` of zero removes the record");
        let key = self.key();
        let owner = self.acquire(rule, self.claim(&key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], Duration::ZERO)).await?;
        self.acquire(rule, self.claim(&key)).await?;
        Ok(())
    }

    /// A claim with another payload or operation, in every state of the record.
    pub(in crate::testing) async fn checks(&self) -> Checked {
        let rule = Rule("another payload or operation gets no replay, does not wait and takes nothing over");
        let running = self.key();
        self.acquire(rule, self.claim(&running)).await?;
        let done = self.completed(rule, b"secret").await?;
        let lost = self.key();
        self.acquire(rule, self.short(&lost)).await?;
        self.pass().await;
        for key in [&running, &done, &lost] {
            for takes_over in [false, true] {
                // T108
                let payload = Claim { fingerprint: Fingerprint(8), takes_over, ..self.claim(key) };
                let found = self.store.claim(payload.clone()).await;
                rule.of("a claim with another payload", found, &Ok(Claimed::KeyReused))?;
                let none = Claim { fingerprint: Fingerprint::NONE, ..payload.clone() };
                let found = self.store.claim(none).await;
                rule.of("a claim without a fingerprint", found, &Ok(Claimed::KeyReused))?;
                let other = Claim { operation: "another", ..self.claim(key) };
                let by = Ok(Claimed::OtherOperation("check".to_owned()));
                rule.of("a claim by another operation", self.store.claim(other.clone()).await, &by)?;
                let both = Claim { operation: "another", ..payload };
                rule.of("the operation is checked first", self.store.claim(both).await, &by)?;
            }
        }
        let rule = Rule("an unknown operation is not compared");
        let unknown = Claim { operation: "", ..self.claim(&done) };
        let replayed = Ok(Claimed::Done(b"secret".to_vec()));
        rule.of("a claim without an operation", self.store.claim(unknown).await, &replayed)?;
        let key = self.key();
        let owner = self.acquire(rule, Claim { operation: "", ..self.claim(&key) }).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], LONG)).await?;
        let found = self.store.claim(self.claim(&key)).await;
        rule.of("a record without an operation", found, &Ok(Claimed::Done(vec![1])))
    }
}
