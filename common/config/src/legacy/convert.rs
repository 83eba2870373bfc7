//! A ConfigMap's text to objects that can be applied in its place.

use std::collections::BTreeMap;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use kube::{Resource, ResourceExt};

use super::document::{self, Document, Id, Made};
use super::{Legacy, Naming};
use crate::model::{Config, Problem};
use crate::parse::{Objects, kind};

/// The objects of a text. What is wrong in it is left out and a problem.
#[derive(Debug, Clone, Default)]
pub struct Converted {
    /// One for each pool.
    pub pools: Vec<IPAddressPool>,
    /// One for each pool of layer 2, of the same name.
    pub l2: Vec<L2Advertisement>,
    /// One or more for each pool of BGP.
    pub bgp: Vec<BGPAdvertisement>,
    /// Named for their addresses.
    pub peers: Vec<BGPPeer>,
    /// BFD profiles.
    pub bfd: Vec<BFDProfile>,
    /// One for each alias.
    pub communities: Vec<Community>,
    /// What is not converted and why.
    pub problems: Vec<Problem>,
    /// Pools by the names written and those of their objects, where they differ.
    pub renamed: BTreeMap<String, String>,
}

/// Converts a text to objects of a namespace.
///
/// # Errors
/// Nothing of it can be read.
pub fn convert(namespace: &str, text: &str) -> Result<Converted, Problem> {
    let unreadable = |wrong: crate::check::Wrong| Problem {
        object: super::merge::reference(namespace),
        field: super::KEY.to_owned(),
        message: wrong.message,
        last_good_kept: false,
    };
    let document = document::read(namespace, text, Naming::Dns).map_err(unreadable)?;
    let legacy = Legacy { document: Some(document.clone().into()), unreadable: None };
    let objects =
        Objects { namespace: namespace.to_owned(), legacy: Some(legacy.into()), ..Objects::default() };
    // Whatever the parser sets aside is left out.
    let outcome = crate::parse(&objects, &Config::default());
    let config = &outcome.config;
    let renamed = document.renamed.clone();
    // Of a pool that is left out nothing is to be announced.
    let there = |pools: &[String]| pools.iter().all(|pool| config.pools.contains_key(&pool.as_str().into()));
    let mut l2 = list::<L2Advertisement>(&document, |name| config.l2.contains_key(name));
    l2.retain(|advertisement| there(&advertisement.spec.ip_address_pools));
    let mut bgp = list::<BGPAdvertisement>(&document, |name| config.bgp.contains_key(name));
    bgp.retain(|advertisement| there(&advertisement.spec.ip_address_pools));
    Ok(Converted {
        l2,
        bgp,
        pools: list::<IPAddressPool>(&document, |name| config.pools.contains_key(&name.into())),
        peers: list::<BGPPeer>(&document, |name| config.peers.contains_key(name)),
        bfd: list::<BFDProfile>(&document, |name| config.bfd.contains_key(name)),
        communities: list::<Community>(&document, |name| config.communities.contains_key(name)),
        problems: outcome.problems,
        renamed,
    })
}

fn list<K: Made + Clone>(document: &Document, in_force: impl Fn(&str) -> bool) -> Vec<K> {
    let mut document = document.clone();
    let objects = std::mem::take(K::list(&mut document));
    let good = objects.iter().filter(|object| {
        let id: Id = (kind::<K>(), object.name_any());
        in_force(&id.1) && !document.refused.contains_key(&id)
    });
    good.map(|object| {
        let mut object = object.as_ref().clone();
        // It stood for the place in the list.
        Resource::meta_mut(&mut object).creation_timestamp = None;
        object
    })
    .collect()
}
