//! Names of the things that users talk about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Takes the name as the API server stored it: it was checked there.
            #[must_use]
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ServiceKey {
    /// The key of the Service `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
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
