//! A document of `automerge` as a value of a replica set.

use std::fmt;

use automerge::{ActorId, AutoCommit, ReadDoc as _, transaction::Transactable as _};
use resilient_replica::resolve::{Actor, Merge, MergeError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that several people edit.
///
/// It begins with a common first change, because two documents that create the same text independently have two texts.
#[derive(Clone)]
pub(crate) struct Document(Box<AutoCommit>);

const TEXT: &str = "text";

fn failed(error: impl fmt::Display) -> MergeError {
    MergeError::Other(error.to_string())
}

impl Default for Document {
    fn default() -> Self {
        let mut document = AutoCommit::new().with_actor(ActorId::from(b"first change".as_slice()));
        let created = document.put_object(automerge::ROOT, TEXT, automerge::ObjType::Text);
        debug_assert!(created.is_ok());
        document.commit_with(automerge::transaction::CommitOptions::default().with_time(0));
        Self(Box::new(document))
    }
}

impl Document {
    pub(crate) fn text(&self) -> String {
        let found = self.0.get(automerge::ROOT, TEXT).ok().flatten();
        found.and_then(|(_, text)| self.0.text(text).ok()).unwrap_or_default()
    }

    /// Inserts words at a position, as an actor.
    pub(crate) fn insert(&mut self, actor: Actor, position: usize, words: &str) -> Result<(), MergeError> {
        self.0.set_actor(ActorId::from(actor.number().to_be_bytes()));
        let found = self.0.get(automerge::ROOT, TEXT).map_err(failed)?;
        let (_, text) = found.ok_or_else(|| failed("the document has no text"))?;
        self.0.splice_text(text, position, 0, words).map_err(failed)?;
        self.0.commit();
        Ok(())
    }
}

impl Merge for Document {
    fn merge(&mut self, mut other: Self) -> Result<(), MergeError> {
        let mut merged = self.0.clone();
        merged.merge(&mut other.0).map_err(failed)?;
        self.0 = merged;
        Ok(())
    }
}

/// Documents with the same changes are equal.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.0.clone().get_heads() == other.0.clone().get_heads()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.text()).finish()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.clone().save().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::deserialize(deserializer)?;
        AutoCommit::load(&bytes).map(|document| Self(Box::new(document))).map_err(D::Error::custom)
    }
}
