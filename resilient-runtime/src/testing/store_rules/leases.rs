//! Rules about leases and lost records.

use std::time::Duration;

use super::{Bench, Checked, LONG, Rule, SHORT};
use crate::idempotency::{Claim, Claimed, IdempotencyStore};

impl<S: IdempotencyStore + ?Sized, P: AsyncFn(Duration)> Bench<'_, S, P> {
    pub(in crate::testing) async fn leases(&self) -> Checked {
        self.renewal().await?;
        self.expiry().await?;
        self.loss().await
    }

    async fn renewal(&self) -> Checked {
        // T107
        let rule = Rule("a renewed lease lasts");
        let key = self.key();
        let owner = self.acquire(rule, self.short(&key)).await?;
        rule.yes("renew", self.store.renew(&key, owner, LONG)).await?;
        self.pass().await;
        self.in_progress(rule, "a claim after the first lease", self.claim(&key)).await?;

        let rule = Rule("a renewal does not shorten a lease");
        rule.yes("renew", self.store.renew(&key, owner, SHORT)).await?;
        rule.yes("renew", self.store.renew(&key, owner, Duration::ZERO)).await?;
        self.pass().await;
        self.in_progress(rule, "a claim after a shorter renewal", self.claim(&key)).await?;

        let rule = Rule("a lost record is stored for its whole time after a renewed lease");
        let key = self.key();
        let claim = Claim { lost_for: SHORT, ..self.claim(&key) };
        let owner = self.acquire(rule, claim).await?;
        rule.yes("renew", self.store.renew(&key, owner, LONG)).await?;
        self.pass().await;
        self.in_progress(rule, "a claim after that time", self.claim(&key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], LONG)).await
    }

    async fn expiry(&self) -> Checked {
        // T105
        let rule = Rule("after the end of a lease, `takes_over` decides");
        let key = self.key();
        let owner = self.acquire(rule, self.short(&key)).await?;
        self.pass().await;
        for _ in 0..2 {
            let found = self.store.claim(self.claim(&key)).await;
            rule.of("a claim without `takes_over`", found, &Ok(Claimed::Lost))?;
        }
        let rule = Rule("an owner keeps its record after the end of its lease, until another one takes over");
        rule.yes("renew", self.store.renew(&key, owner, SHORT)).await?;
        self.pass().await;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], LONG)).await?;
        let found = self.store.claim(Claim { takes_over: true, ..self.claim(&key) }).await;
        rule.of("a claim after the late result", found, &Ok(Claimed::Done(vec![1])))?;

        let rule = Rule("a lost record expires");
        let key = self.key();
        let owner = self.acquire(rule, Claim { lost_for: SHORT, ..self.short(&key) }).await?;
        self.pass().await;
        rule.no("renew of an expired record", self.store.renew(&key, owner, LONG)).await?;
        let late = self.store.complete(&key, owner, vec![1], LONG);
        rule.no("complete of an expired record", late).await?;
        self.acquire(rule, self.claim(&key)).await?;
        Ok(())
    }

    /// `lose` is optional: it may return `false` and do nothing.
    async fn loss(&self) -> Checked {
        let rule = Rule("`lose` ends the lease at once, or returns `false`");
        let key = self.key();
        let owner = self.acquire(rule, self.claim(&key)).await?;
        match self.store.lose(&key, owner).await {
            Ok(false) => return self.in_progress(rule, "a claim after `false`", self.claim(&key)).await,
            Ok(true) => {}
            found => return Err(rule.broken("lose", "`Ok`", &found)),
        }
        let found = self.store.claim(self.claim(&key)).await;
        rule.of("a claim without `takes_over`", found, &Ok(Claimed::Lost))?;
        let next = self.acquire(rule, Claim { takes_over: true, ..self.claim(&key) }).await?;
        rule.no("complete by the owner that lost", self.store.complete(&key, owner, vec![1], LONG)).await?;
        rule.yes("complete by its successor", self.store.complete(&key, next, vec![2], LONG)).await?;

        let rule = Rule("a record that was lost early expires early");
        let key = self.key();
        let owner = self.acquire(rule, Claim { lost_for: SHORT, ..self.claim(&key) }).await?;
        rule.yes("lose", self.store.lose(&key, owner)).await?;
        self.pass().await;
        self.acquire(rule, self.claim(&key)).await?;
        Ok(())
    }
}
