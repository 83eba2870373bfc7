//! The ConfigMap of MetalLB's first releases (0.1 to 0.12): `config`, key `config`.
//!
//! Its text becomes the same objects that users write today, and those go through the one
//! parser; this is a notation, no second configuration. Keys of all releases are read
//! together: none changed its meaning, some were renamed.
//!
//! | step | where |
//! |---|---|
//! | text → nodes, in bounds | `yaml` |
//! | keys with types, unknown ones named | `fields` |
//! | entries → objects, and where each comes from | `document`, `pools`, `peers`, `names` |
//! | objects + entries → the parser; problems → places of the text | `merge` |
//! | entries → objects to be applied | `convert` |
//!
//! It counts as long as there is no IPAddressPool. A bad entry is set aside alone, as a bad
//! object is, and its last good version stays. A text that cannot be read at all changes
//! nothing.

mod convert;
mod document;
mod fields;
mod merge;
mod names;
mod peers;
mod pools;
mod yaml;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use convert::{Converted, convert};
pub(crate) use merge::parse;
pub use names::Naming;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::check::Wrong;
use crate::model::Problem;
use crate::parse::Objects;

/// The ConfigMap's name.
pub const NAME: &str = "config";
/// The key of its text.
pub const KEY: &str = "config";

/// A ConfigMap as the API server has it, reduced to what matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// `metadata.namespace`, where its objects would be.
    pub namespace: String,
    /// `metadata.uid`, for events.
    pub uid: String,
    /// The text; `None` if there is no such key.
    pub text: Option<String>,
}

impl Source {
    /// Of an object's metadata and data.
    #[must_use]
    pub fn new(metadata: &ObjectMeta, data: Option<&BTreeMap<String, String>>) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            text: data.and_then(|data| data.get(KEY)).cloned(),
        }
    }
}

/// What a ConfigMap says: the text as it is or, where that cannot be read, as it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Legacy {
    document: Option<Arc<document::Document>>,
    unreadable: Option<Wrong>,
}

impl Legacy {
    /// Reads a ConfigMap. `before` is what was read of it last.
    #[must_use]
    pub fn read(source: &Source, before: Option<&Self>) -> Self {
        let read = source.text.as_deref().map_or_else(
            || {
                let message =
                    format!("the ConfigMap has no key {KEY:?}: write the configuration there, or delete it");
                Err(Wrong::new("", message))
            },
            |text| document::read(&source.namespace, text, Naming::AsWritten),
        );
        match read {
            Ok(document) => Self { document: Some(Arc::new(document)), unreadable: None },
            Err(wrong) => {
                Self { document: before.and_then(|before| before.document.clone()), unreadable: Some(wrong) }
            }
        }
    }
}

impl Objects {
    /// Whether a ConfigMap would be in force: objects win as soon as there is a pool among
    /// them. Those of other kinds are read beside it.
    #[must_use]
    pub fn configmap_counts(&self) -> bool {
        !self.pools.iter().any(|pool| pool.metadata.namespace.as_deref() == Some(&self.namespace))
    }

    /// What to tell the owner of a ConfigMap that is not in force; `None` if it is, or there
    /// is none.
    #[must_use]
    pub fn configmap_notice(&self) -> Option<String> {
        (self.legacy.is_some() && !self.configmap_counts()).then(|| {
            format!(
                "ConfigMap {}/{NAME} is not in force: there are IPAddressPools, and objects win. Convert what is left of it (`kubectl clarion convert`), then delete it",
                self.namespace
            )
        })
    }

    /// Why the configuration is not known at all: all that there is of it is a ConfigMap
    /// whose text cannot be read and never could since this process began. Whoever decides
    /// without knowing it would take away what it allows.
    #[must_use]
    pub fn unknown(&self) -> Option<Problem> {
        let legacy = self.legacy.as_ref().filter(|legacy| legacy.document.is_none())?;
        let wrong = legacy.unreadable.as_ref().filter(|_| self.configmap_counts())?;
        Some(Problem {
            object: merge::reference(&self.namespace),
            field: KEY.to_owned(),
            message: wrong.message.clone(),
            last_good_kept: false,
        })
    }
}
