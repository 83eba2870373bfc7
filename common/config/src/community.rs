//! Community objects to aliases.

use std::collections::BTreeMap;

use clarion_core::Community as Value;

use crate::check::{Wrong, given};
use crate::model::Aliases;
use crate::settle::Ledger;

pub(crate) fn read(object: &clarion_api::Community) -> Result<Aliases, Wrong> {
    let mut aliases = Aliases::new();
    for (i, alias) in object.spec.communities.iter().enumerate() {
        let at = |field: &str| format!("spec.communities[{i}].{field}");
        let Some(name) = given(alias.name.as_ref()) else {
            return Err(Wrong::new(at("name"), "community alias without name: set name"));
        };
        let value = alias.value.as_deref().unwrap_or_default();
        let value: Value =
            value.parse().map_err(|e| Wrong::new(at("value"), format!("parsing community {name:?}: {e}")))?;
        if aliases.insert(name.to_owned(), value).is_some() {
            let message = format!("duplicate definition of community {name:?}: remove one of them");
            return Err(Wrong::new(at("name"), message));
        }
    }
    Ok(aliases)
}

/// Alias names given so far, and by which object.
#[derive(Debug, Clone, Default)]
pub(crate) struct AliasNames {
    owners: BTreeMap<String, String>,
}

impl Ledger<Aliases> for AliasNames {
    fn conflict(&self, _: &str, aliases: &Aliases) -> Option<Wrong> {
        aliases.keys().find_map(|alias| {
            let owner = self.owners.get(alias)?;
            let message = format!(
                "duplicate definition of community {alias:?}: Community {owner:?} defines it already; choose another name"
            );
            Some(Wrong::new("spec.communities", message))
        })
    }

    fn enter(&mut self, name: &str, aliases: &Aliases) {
        self.owners.extend(aliases.keys().map(|alias| (alias.clone(), name.to_owned())));
    }
}
