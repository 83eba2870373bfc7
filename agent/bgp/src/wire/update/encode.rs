//! UPDATEs of one message's size at most, as many prefixes in each as fit.

use std::net::IpAddr;

use clarion_core::{Asn, Community, Family};
use ipnet::IpNet;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::community as ng;
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress, Ipv6Unicast, Ipv6UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{
    As2PathSegment, As4Path, As4PathSegment, AsPath, AsPathSegmentType, Communities, LargeCommunities,
    LocalPreference, MpReach, MpUnreach, MultiExitDiscriminator, NextHop, Origin, PathAttribute,
    PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_parse_utils::WritablePdu;

use super::PathAttributes;

/// Writes UPDATEs as one session needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateEncoder {
    /// Both sides speak four-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// Longest message, octets.
    pub max_message: usize,
}

/// Prefixes in the library's types.
enum Nlri {
    V4(Vec<Ipv4UnicastAddress>),
    V6(Vec<Ipv6UnicastAddress>),
}

impl UpdateEncoder {
    /// One UPDATE that announces as many of `prefixes` as fit, from the first on,
    /// and how many that are. All must be of `family` and unicast (others are passed
    /// over and count as taken). `None` if the attributes leave no room for one.
    #[must_use]
    pub fn announce(
        &self,
        family: Family,
        with: &PathAttributes,
        prefixes: &[IpNet],
    ) -> Option<(Vec<u8>, usize)> {
        let overhead = self.reach(with, nlri(family, &[])).len();
        let count = fitting(prefixes, self.max_message.checked_sub(overhead)?);
        if count == 0 {
            return None;
        }
        let message = self.reach(with, nlri(family, &prefixes[..count]));
        self.write(&message).map(|octets| (octets, count))
    }

    /// One UPDATE that withdraws as many of `prefixes` as fit, and how many that are.
    /// `None` if there are none.
    #[must_use]
    pub fn withdraw(&self, family: Family, prefixes: &[IpNet]) -> Option<(Vec<u8>, usize)> {
        let overhead = unreach(nlri(family, &[])).len();
        let count = fitting(prefixes, self.max_message.checked_sub(overhead)?);
        if count == 0 {
            return None;
        }
        self.write(&unreach(nlri(family, &prefixes[..count]))).map(|octets| (octets, count))
    }

    /// The End-of-RIB marker (RFC 4724 §2): an UPDATE that withdraws nothing.
    #[must_use]
    pub fn end_of_rib(&self, family: Family) -> Option<Vec<u8>> {
        self.write(&unreach(nlri(family, &[])))
    }

    fn write(&self, message: &BgpMessage) -> Option<Vec<u8>> {
        let mut octets = Vec::with_capacity(message.len());
        message.write(&mut octets).ok()?;
        // The library writes up to 65535 octets whatever was negotiated.
        (octets.len() <= self.max_message).then_some(octets)
    }

    fn reach(&self, with: &PathAttributes, prefixes: Nlri) -> BgpMessage {
        let mut attributes = vec![
            well_known(PathAttributeValue::Origin(Origin::IGP)),
            well_known(PathAttributeValue::AsPath(self.as_path(&with.as_path))),
        ];
        let mut plain = Vec::new();
        match (prefixes, with.next_hop) {
            (Nlri::V4(prefixes), IpAddr::V4(next_hop)) => {
                attributes.push(well_known(PathAttributeValue::NextHop(NextHop::new(next_hop))));
                plain = prefixes;
            }
            // RFC 8950 §3: IPv4 prefixes, IPv6 next hop.
            (Nlri::V4(prefixes), next_hop @ IpAddr::V6(_)) => {
                attributes.push(multiprotocol(PathAttributeValue::MpReach(MpReach::Ipv4Unicast {
                    next_hop,
                    next_hop_local: with.link_local,
                    nlri: prefixes.into_boxed_slice(),
                })));
            }
            (Nlri::V6(prefixes), next_hop) => {
                attributes.push(multiprotocol(PathAttributeValue::MpReach(MpReach::Ipv6Unicast {
                    next_hop_global: match next_hop {
                        IpAddr::V6(next_hop) => next_hop,
                        // RFC 4291 §2.5.5.2; the Adj-RIB-Out never asks for it.
                        IpAddr::V4(next_hop) => next_hop.to_ipv6_mapped(),
                    },
                    next_hop_local: with.link_local,
                    nlri: prefixes.into_boxed_slice(),
                })));
            }
        }
        self.optional(with, &mut attributes);
        BgpMessage::Update(BgpUpdateMessage::new(vec![], attributes, plain))
    }

    fn optional(&self, with: &PathAttributes, attributes: &mut Vec<PathAttribute>) {
        if let Some(med) = with.med {
            let value = PathAttributeValue::MultiExitDiscriminator(MultiExitDiscriminator::new(med));
            attributes.push(attribute(true, false, false, value));
        }
        if let Some(preference) = with.local_pref {
            attributes
                .push(well_known(PathAttributeValue::LocalPreference(LocalPreference::new(preference))));
        }
        let (mut standard, mut large) = (Vec::new(), Vec::new());
        for community in &with.communities {
            match *community {
                Community::Standard(a, b) => {
                    standard.push(ng::Community::new(u32::from(a) << 16 | u32::from(b)));
                }
                Community::Large(a, b, c) => large.push(ng::LargeCommunity::new(a, b, c)),
            }
        }
        if !standard.is_empty() {
            let long = standard.len() * 4 > 255;
            let value = PathAttributeValue::Communities(Communities::new(standard));
            attributes.push(attribute(true, true, long, value));
        }
        // RFC 6793 §4.2.2: an old speaker carries what it does not understand.
        if !self.four_octet_as && with.as_path.iter().any(|asn| asn.get() > u32::from(u16::MAX)) {
            let value = PathAttributeValue::As4Path(As4Path::new(four_octets(&with.as_path)));
            attributes.push(attribute(true, true, with.as_path.len() > 60, value));
        }
        if !large.is_empty() {
            let long = large.len() * 12 > 255;
            let value = PathAttributeValue::LargeCommunities(LargeCommunities::new(large));
            attributes.push(attribute(true, true, long, value));
        }
    }

    fn as_path(&self, path: &[Asn]) -> AsPath {
        if self.four_octet_as {
            return AsPath::as4_path_segments(four_octets(path));
        }
        let numbers: Vec<_> = path.iter().map(|a| u16::try_from(a.get()).unwrap_or(Asn::TRANS)).collect();
        let segment =
            (!numbers.is_empty()).then(|| As2PathSegment::new(AsPathSegmentType::AsSequence, numbers));
        AsPath::as2_path_segments(segment.into_iter().collect::<Vec<_>>())
    }
}

fn four_octets(path: &[Asn]) -> Vec<As4PathSegment> {
    let numbers: Vec<_> = path.iter().map(|asn| asn.get()).collect();
    let segment = (!numbers.is_empty()).then(|| As4PathSegment::new(AsPathSegmentType::AsSequence, numbers));
    segment.into_iter().collect()
}

/// IPv4 in the message's own field, which every speaker has; IPv6 in MP_UNREACH_NLRI.
fn unreach(prefixes: Nlri) -> BgpMessage {
    BgpMessage::Update(match prefixes {
        Nlri::V4(prefixes) => BgpUpdateMessage::new(prefixes, vec![], vec![]),
        Nlri::V6(prefixes) => {
            let value =
                PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri: prefixes.into_boxed_slice() });
            BgpUpdateMessage::new(vec![], vec![multiprotocol(value)], vec![])
        }
    })
}

fn nlri(family: Family, prefixes: &[IpNet]) -> Nlri {
    match family {
        Family::V4 => Nlri::V4(
            prefixes
                .iter()
                .filter_map(|prefix| match prefix {
                    IpNet::V4(net) => {
                        Ipv4Unicast::from_net(net.trunc()).ok().map(Ipv4UnicastAddress::new_no_path_id)
                    }
                    IpNet::V6(_) => None,
                })
                .collect(),
        ),
        Family::V6 => Nlri::V6(
            prefixes
                .iter()
                .filter_map(|prefix| match prefix {
                    IpNet::V6(net) => {
                        Ipv6Unicast::from_net(net.trunc()).ok().map(|net| Ipv6UnicastAddress::new(None, net))
                    }
                    IpNet::V4(_) => None,
                })
                .collect(),
        ),
    }
}

/// How many prefixes, from the first on, take at most `room` octets: one for the
/// length and as many as hold it (RFC 4271 §4.3).
fn fitting(prefixes: &[IpNet], room: usize) -> usize {
    let mut left = room;
    prefixes
        .iter()
        .take_while(|prefix| {
            let size = 1 + usize::from(prefix.prefix_len().div_ceil(8));
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        })
        .count()
}

fn well_known(value: PathAttributeValue) -> PathAttribute {
    attribute(false, true, false, value)
}

/// MP_REACH_NLRI and MP_UNREACH_NLRI are optional and non-transitive (RFC 4760 §3,
/// §4), and always written with a two-octet length, so that their size is known
/// before their prefixes are.
fn multiprotocol(value: PathAttributeValue) -> PathAttribute {
    attribute(true, false, true, value)
}

fn attribute(optional: bool, transitive: bool, long: bool, value: PathAttributeValue) -> PathAttribute {
    match PathAttribute::from(optional, transitive, false, long, value) {
        Ok(attribute) => attribute,
        Err((value, fault)) => unreachable!("flags of {value:?} are fixed by its type: {fault:?}"),
    }
}
