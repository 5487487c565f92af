//! Rules about who may change a record, about extreme values, and about clients.

use std::time::Duration;

use super::{Bench, Checked, LONG, Rule, SHORT};
use crate::idempotency::{Claim, Claimed, ClientId, Fingerprint, IdempotencyStore, Owner};

impl<S: IdempotencyStore + ?Sized, P: AsyncFn(Duration)> Bench<'_, S, P> {
    /// None of the four changes may succeed.
    async fn refuses(&self, rule: Rule, key: &str, owner: Owner) -> Checked {
        rule.no("renew by another owner", self.store.renew(key, owner, LONG)).await?;
        rule.no("complete by another owner", self.store.complete(key, owner, vec![9], LONG)).await?;
        let zero = self.store.complete(key, owner, vec![9], Duration::ZERO);
        rule.no("complete with a `ttl` of zero by another owner", zero).await?;
        rule.no("abandon by another owner", self.store.abandon(key, owner)).await?;
        rule.no("lose by another owner", self.store.lose(key, owner)).await
    }

    pub(in crate::testing) async fn fencing(&self) -> Checked {
        let rule = Rule("only the owner changes a record");
        let key = self.key();
        self.refuses(rule, &key, self.owner()).await?;
        let owner = self.acquire(rule, self.claim(&key)).await?;
        self.refuses(rule, &key, self.owner()).await?;
        // Every bit of the owner counts.
        for bit in [0, 31, 32, 53, 63, 64, 127] {
            self.refuses(rule, &key, Owner(owner.0 ^ (1 << bit))).await?;
        }
        self.in_progress(rule, "a claim after refused changes", self.claim(&key)).await?;
        rule.yes("complete by the owner", self.store.complete(&key, owner, vec![1], LONG)).await?;

        let rule = Rule("a completed record does not change");
        self.refuses(rule, &key, owner).await?;
        self.refuses(rule, &key, self.owner()).await?;
        let found = self.store.claim(self.claim(&key)).await;
        rule.of("a claim after refused changes", found, &Ok(Claimed::Done(vec![1])))?;

        // T110
        let rule = Rule("an abandoned key is free");
        let key = self.key();
        let owner = self.acquire(rule, self.claim(&key)).await?;
        rule.yes("abandon by the owner", self.store.abandon(&key, owner)).await?;
        self.refuses(rule, &key, owner).await?;
        let next = Claim { fingerprint: Fingerprint(8), operation: "another", ..self.claim(&key) };
        let next = self.acquire(rule, next).await?;
        rule.no("abandon by the previous owner", self.store.abandon(&key, owner)).await?;
        rule.yes("renew by the next owner", self.store.renew(&key, next, LONG)).await?;

        // T106
        let rule = Rule("a previous owner cannot change the record of its successor");
        let key = self.key();
        let late = self.acquire(rule, self.short(&key)).await?;
        self.pass().await;
        let next = self.acquire(rule, Claim { takes_over: true, ..self.claim(&key) }).await?;
        self.refuses(rule, &key, late).await?;
        self.in_progress(rule, "a claim after the takeover", self.claim(&key)).await?;
        rule.yes("complete by the successor", self.store.complete(&key, next, vec![2], LONG)).await?;
        self.refuses(rule, &key, late).await?;
        let found = self.store.claim(self.claim(&key)).await;
        rule.of("a claim after the result of the successor", found, &Ok(Claimed::Done(vec![2])))
    }

    pub(in crate::testing) async fn limits(&self) -> Checked {
        let rule = Rule("the longest durations do not overflow");
        let most = Duration::MAX;
        let key = self.key();
        let owner = self.acquire(rule, Claim { lease: most, lost_for: most, ..self.claim(&key) }).await?;
        self.in_progress(rule, "a claim during the longest lease", self.claim(&key)).await?;
        rule.yes("renew", self.store.renew(&key, owner, most)).await?;
        rule.yes("renew", self.store.renew(&key, owner, most)).await?;
        self.pass().await;
        self.in_progress(rule, "a claim during the renewed lease", self.claim(&key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![1], most)).await?;
        self.pass().await;
        let found = self.store.claim(self.claim(&key)).await;
        rule.of("a claim during the longest `ttl`", found, &Ok(Claimed::Done(vec![1])))?;

        let rule = Rule("a lease and an unknown outcome of zero leave no record");
        let key = self.key();
        self.acquire(rule, Claim { lease: Duration::ZERO, lost_for: Duration::ZERO, ..self.claim(&key) })
            .await?;
        self.pass().await;
        self.acquire(rule, self.claim(&key)).await?;

        let rule = Rule("all 128 bits of a fingerprint count");
        for fingerprint in [0, 1, u128::MAX, 1 << 64, 1 << 53, i128::MAX.cast_unsigned()].map(Fingerprint) {
            let key = self.key();
            let claim = Claim { fingerprint, ..self.claim(&key) };
            self.acquire(rule, claim.clone()).await?;
            self.in_progress(rule, "an equal fingerprint", Claim { owner: self.owner(), ..claim }).await?;
            for bit in [0, 52, 53, 63, 64, 127] {
                let other =
                    Claim { fingerprint: Fingerprint(fingerprint.0 ^ (1 << bit)), ..self.claim(&key) };
                let found = self.store.claim(other).await;
                rule.of("a fingerprint that differs in one bit", found, &Ok(Claimed::KeyReused))?;
            }
        }
        Ok(())
    }

    pub(in crate::testing) async fn clients(&self) -> Checked {
        let rule = Rule("a record of a client follows the same rules");
        let (one, two) = (ClientId(self.random.unique()), ClientId(0));
        let (own, key) = (self.completed(rule, &[1]).await?, self.key());
        let owner = self.acquire(rule, Claim { client: Some(one), ..self.claim(&key) }).await?;
        self.in_progress(rule, "a claim by the client", Claim { client: Some(one), ..self.claim(&key) })
            .await?;
        let other = Claim { client: Some(two), ..self.claim(&self.key()) };
        let other_key = other.key.clone();
        self.acquire(rule, other).await?;
        self.in_progress(rule, "the record of another client", self.claim(&other_key)).await?;
        rule.yes("complete", self.store.complete(&key, owner, vec![2], LONG)).await?;
        let found = self.store.claim(Claim { client: Some(one), ..self.claim(&key) }).await;
        rule.of("a claim after the result", found, &Ok(Claimed::Done(vec![2])))?;
        let found = self.store.claim(self.claim(&own)).await;
        rule.of("the record of the program", found, &Ok(Claimed::Done(vec![1])))?;
        let brief = Claim { client: Some(one), lost_for: SHORT, ..self.short(&self.key()) };
        let key = brief.key.clone();
        self.acquire(rule, brief).await?;
        self.pass().await;
        self.acquire(rule, Claim { client: Some(two), ..self.claim(&key) }).await?;
        Ok(())
    }
}
