//! Names of the things that users talk about. They are in many tables at once, so a copy
//! shares the text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes the name as the API server stored it: it was checked there.
            #[must_use]
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(name.as_ref().into())
            }

            /// The name as users write it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

name!(
    /// A Kubernetes node: `metadata.name`, never the host name.
    NodeName
);
name!(
    /// An IPAddressPool: `metadata.name` inside the configuration namespace.
    PoolName
);

/// A Service: `namespace/name`, as every message of MetalLB writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    text: Arc<str>,
    /// Bytes of the namespace, before the slash.
    slash: usize,
}

impl ServiceKey {
    /// The key of the Service `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        Self { text: format!("{namespace}/{name}").into(), slash: namespace.len() }
    }

    /// `metadata.namespace`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[..self.slash]
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.slash + 1..]
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ServiceKey {
    type Err = String;

    /// Reads `namespace/name`; a name alone is in `default`, as kubectl has it.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            None if !text.is_empty() => Ok(Self::new("default", text)),
            _ => Err(format!("{text:?} is no Service: write NAMESPACE/NAME")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_keys_read_as_they_are_written() {
        let key: ServiceKey = "shop/web".parse().unwrap();
        assert_eq!(key.to_string(), "shop/web");
        assert_eq!("web".parse::<ServiceKey>().unwrap(), ServiceKey::new("default", "web"));
        for bad in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(bad.parse::<ServiceKey>().is_err(), "{bad:?}");
        }
    }
}
