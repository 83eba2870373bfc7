//! The codecs against each other: what the library writes, our reader reads; what
//! our reader reads, the library reads the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_core::{Asn, Community, Family, RouterId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

const READER: UpdateReader = UpdateReader { four_octet_as: true, internal: false };

/// Everything in a stream, as the session would see it.
fn read(stream: &[u8], extended: bool) -> Result<Vec<Message>, WireError> {
    let mut framer = Framer::default();
    if extended {
        framer.allow_extended();
    }
    framer.push(stream);
    let mut messages = Vec::new();
    while let Some((kind, body)) = framer.next_message()? {
        messages.push(decode(kind, body, READER)?);
    }
    Ok(messages)
}

/// The library's view of one message.
fn library(octets: &[u8], four_octet_as: bool) -> BgpMessage {
    let mut context = BgpParsingContext::default();
    context.set_asn4(four_octet_as);
    BgpMessage::parse(&mut SliceReader::new(octets), &mut context).expect("our message is well formed")
}

fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    [&length(withdrawn), withdrawn, &length(attributes), attributes, announced].concat()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn arb_prefix(family: Family) -> BoxedStrategy<IpNet> {
    match family {
        Family::V4 => (any::<u32>(), 0..=32_u8)
            .prop_map(|(a, l)| IpNet::V4(Ipv4Net::new(Ipv4Addr::from(a >> 1), l).unwrap().trunc()))
            .boxed(),
        Family::V6 => (any::<u128>(), 0..=128_u8)
            .prop_map(|(a, l)| IpNet::V6(Ipv6Net::new(Ipv6Addr::from(a >> 1), l).unwrap().trunc()))
            .boxed(),
    }
}

fn arb_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn arb_community() -> impl Strategy<Value = Community> {
    prop_oneof![
        any::<(u16, u16)>().prop_map(|(a, b)| Community::Standard(a, b)),
        any::<(u32, u32, u32)>().prop_map(|(a, b, c)| Community::Large(a, b, c)),
    ]
}

prop_compose! {
    fn arb_attributes(family: Family)(
        path in vec(1..=u32::MAX, 0..40),
        hop in any::<u32>(),
        hop6 in any::<u128>(),
        local in any::<bool>(),
        med in any::<Option<u32>>(),
        local_pref in any::<Option<u32>>(),
        communities in btree_set(arb_community(), 0..120),
    ) -> PathAttributes {
        PathAttributes {
            as_path: path.into_iter().filter_map(Asn::new).collect(),
            next_hop: match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::from(hop >> 1)),
                Family::V6 => IpAddr::V6(Ipv6Addr::from(hop6 >> 1)),
            },
            link_local: (family == Family::V6 && local).then_some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            med,
            local_pref,
            communities,
        }
    }
}

fn arb_capability() -> impl Strategy<Value = Capability> {
    prop_oneof![
        arb_family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        (any::<bool>(), any::<bool>(), 0..4096_u16, vec((arb_family(), any::<bool>()), 0..3)).prop_map(
            |(restarted, notification, time, families)| Capability::GracefulRestart {
                restarted,
                notification,
                time,
                families: families
                    .into_iter()
                    .map(|(family, forwarding)| RestartFamily { family, forwarding })
                    .collect(),
            }
        ),
        any::<u32>().prop_map(Capability::FourOctetAs),
        (80..200_u8, vec(any::<u8>(), 0..9)).prop_map(|(code, value)| Capability::Unknown(code, value)),
    ]
}

/// What the library says about the attributes of one UPDATE.
fn attributes_of(message: &BgpMessage) -> PathAttributes {
    let BgpMessage::Update(update) = message else { panic!("an UPDATE") };
    let mut found = PathAttributes {
        as_path: Vec::new(),
        next_hop: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        link_local: None,
        med: None,
        local_pref: None,
        communities: BTreeSet::new(),
    };
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                found.as_path = segments
                    .iter()
                    .flat_map(|s| s.as_numbers().iter().filter_map(|n| Asn::new(*n)))
                    .collect();
            }
            PathAttributeValue::NextHop(hop) => found.next_hop = IpAddr::V4(hop.next_hop()),
            PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, next_hop_local, .. }) => {
                found.next_hop = IpAddr::V6(*next_hop_global);
                found.link_local = *next_hop_local;
            }
            PathAttributeValue::MultiExitDiscriminator(med) => found.med = Some(med.metric()),
            PathAttributeValue::LocalPreference(value) => found.local_pref = Some(value.metric()),
            PathAttributeValue::Communities(list) => found.communities.extend(
                list.communities()
                    .iter()
                    .map(|c| Community::Standard(c.collection_asn(), c.collection_value())),
            ),
            PathAttributeValue::LargeCommunities(list) => found.communities.extend(
                list.communities()
                    .iter()
                    .map(|c| Community::Large(c.global_admin(), c.local_data1(), c.local_data2())),
            ),
            _ => {}
        }
    }
    found
}

proptest! {
    #[test]
    fn opens_survive_the_way_there_and_back(
        asn in 1..=u32::MAX, hold in prop_oneof![Just(0), 3..=u16::MAX], id in 1..=u32::MAX,
        mut capabilities in vec(arb_capability(), 0..9),
    ) {
        capabilities.retain(|c| !matches!(c, Capability::FourOctetAs(_)));
        capabilities.push(Capability::FourOctetAs(asn));
        let open = Open {
            asn: Asn::new(asn).unwrap(),
            hold_time: hold,
            id: RouterId::new(Ipv4Addr::from(id)).unwrap(),
            capabilities,
        };
        let octets = open.encode().unwrap();
        prop_assert_eq!(read(&octets, false), Ok(vec![Message::Open(open)]));
    }

    #[test]
    fn updates_hold_every_prefix_once_within_the_message_size(
        (family, with, prefixes) in arb_family().prop_flat_map(|family| {
            (Just(family), arb_attributes(family), btree_set(arb_prefix(family), 1..1500))
        }),
        extended in any::<bool>(),
    ) {
        let max_message = if extended { MAX_EXTENDED } else { MAX_MESSAGE };
        let encoder = UpdateEncoder { four_octet_as: true, max_message };
        let prefixes: Vec<_> = prefixes.into_iter().collect();
        let (mut rest, mut seen) = (prefixes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (octets, count) = encoder.announce(family, &with, rest).unwrap();
            prop_assert!(octets.len() <= max_message && count > 0);
            prop_assert_eq!(attributes_of(&library(&octets, true)), with.clone());
            let received = READER.read(&octets[HEADER..], |route| seen.push(route)).unwrap();
            prop_assert_eq!(received.tolerated, None);
            rest = &rest[count..];
        }
        prop_assert_eq!(seen, prefixes.iter().copied().map(Route::Announced).collect::<Vec<_>>());

        let (mut rest, mut gone) = (prefixes.as_slice(), Vec::new());
        while let Some((octets, count)) = encoder.withdraw(family, rest) {
            prop_assert!(octets.len() <= max_message);
            READER.read(&octets[HEADER..], |route| gone.push(route)).unwrap();
            rest = &rest[count..];
        }
        prop_assert_eq!(gone, prefixes.into_iter().map(Route::Withdrawn).collect::<Vec<_>>());
    }

    #[test]
    fn notifications_survive_whatever_their_codes(code: u8, subcode: u8, data in vec(any::<u8>(), 0..64)) {
        let notification = Notification::new(code, subcode).with_data(data);
        let read = read(&notification.encode(), false);
        prop_assert!(!notification.to_string().chars().any(char::is_control));
        prop_assert_eq!(read, Ok(vec![Message::Notification(notification)]));
    }

    #[test]
    fn arbitrary_octets_never_panic(stream in vec(any::<u8>(), 0..300), kind in 0..7_u8) {
        let _ = read(&stream, false);
        let mut framed = vec![0xff; 16];
        framed.extend(u16::try_from(stream.len() + HEADER).unwrap().to_be_bytes());
        framed.push(kind);
        framed.extend(stream);
        let _ = read(&framed, true);
    }

    #[test]
    fn mutated_messages_never_panic(
        with in arb_attributes(Family::V6), prefixes in btree_set(arb_prefix(Family::V6), 1..30),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(),
    ) {
        let encoder = UpdateEncoder { four_octet_as: true, max_message: MAX_MESSAGE };
        let prefixes: Vec<_> = prefixes.into_iter().collect();
        let (octets, _) = encoder.announce(Family::V6, &with, &prefixes).unwrap();
        let mut body = octets[HEADER..].to_vec();
        for (index, octet) in changes {
            let at = index.index(body.len());
            body[at] = octet;
        }
        for end in [body.len(), cut.index(body.len())] {
            for internal in [false, true] {
                let mut routes = 0_u32;
                let reader = UpdateReader { four_octet_as: internal, internal };
                if let Ok(update) = reader.read(&body[..end], |_| routes += 1) {
                    prop_assert_eq!(update.announced + update.withdrawn, routes);
                }
            }
        }
    }

    #[test]
    fn a_stream_reads_the_same_in_whatever_pieces_it_comes(pieces in vec(1..40_usize, 1..20)) {
        let mut stream = encode_keepalive();
        stream.extend(Notification::shutdown("bye").encode());
        stream.extend(RouteRefresh { family: Some(Family::V6) }.encode());
        let whole = read(&stream, false).unwrap();
        let (mut framer, mut messages, mut rest) = (Framer::default(), Vec::new(), stream.as_slice());
        for size in pieces.into_iter().cycle() {
            let (piece, later) = rest.split_at(size.min(rest.len()));
            framer.push(piece);
            while let Some((kind, body)) = framer.next_message().unwrap() {
                messages.push(decode(kind, body, READER).unwrap());
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(messages, whole);
    }
}

#[test]
fn old_speakers_get_two_octets_and_the_rest_in_as4_path() {
    let encoder = UpdateEncoder { four_octet_as: false, max_message: MAX_MESSAGE };
    let with = PathAttributes {
        as_path: vec![Asn::new(4_200_000_001).unwrap()],
        next_hop: "192.0.2.1".parse().unwrap(),
        link_local: None,
        med: None,
        local_pref: None,
        communities: BTreeSet::new(),
    };
    let (octets, _) = encoder.announce(Family::V4, &with, &[net("203.0.113.1/32")]).unwrap();
    let as_path = [0x40, 2, 4, 2, 1, 0x5b, 0xa0];
    let as4_path = [0xc0, 17, 6, 2, 1, 0xfa, 0x56, 0xea, 0x01];
    for part in [&as_path[..], &as4_path] {
        assert!(octets.windows(part.len()).any(|w| w == part), "{part:x?} in {octets:x?}");
    }
    let reader = UpdateReader { four_octet_as: false, internal: false };
    assert_eq!(reader.read(&octets[HEADER..], |_| ()).unwrap().tolerated, None);
}

#[test]
fn attributes_that_leave_no_room_are_refused_not_cut() {
    let encoder = UpdateEncoder { four_octet_as: true, max_message: MAX_MESSAGE };
    let with = PathAttributes {
        as_path: vec![],
        next_hop: "192.0.2.1".parse().unwrap(),
        link_local: None,
        med: None,
        local_pref: None,
        communities: (0..1100).map(|i| Community::Standard(1, i)).collect(),
    };
    assert_eq!(encoder.announce(Family::V4, &with, &[net("203.0.113.1/32")]), None);
}

#[test]
fn end_of_rib_is_known_in_both_forms() {
    let encoder = UpdateEncoder { four_octet_as: true, max_message: MAX_MESSAGE };
    for family in [Family::V4, Family::V6] {
        let octets = encoder.end_of_rib(family).unwrap();
        let update = READER.read(&octets[HEADER..], |_| ()).unwrap();
        assert_eq!(update, ReceivedUpdate { end_of_rib: Some(family), ..ReceivedUpdate::default() });
    }
}

#[test]
fn headers_that_cannot_be_trusted_end_the_session() {
    let header = |length: u16, kind: u8| {
        let mut octets = vec![0xff; 16];
        octets.extend(length.to_be_bytes());
        octets.push(kind);
        octets
    };
    assert_eq!(read(b"GET / HTTP", false), Err(WireError::NotSynchronized));
    assert_eq!(read(&header(18, 4), false), Err(WireError::BadLength(18)));
    assert_eq!(read(&header(20, 4), false), Err(WireError::BadLength(20)));
    assert_eq!(read(&header(4097, 2), false), Err(WireError::BadLength(4097)));
    assert_eq!(read(&header(4097, 2), true), Ok(vec![]), "waits for the rest");
    assert_eq!(read(&header(4097, 1), true), Err(WireError::BadLength(4097)), "an OPEN never grows");
    assert_eq!(read(&header(28, 1), false), Err(WireError::BadLength(28)));
    assert_eq!(read(&header(19, 9), false), Err(WireError::BadType(9)));
}

#[test]
fn bad_opens_are_told_apart() {
    let body = |version: u8, asn: u16, hold: u16, id: u32, parameters: &[u8]| {
        let mut octets = vec![version];
        octets.extend(asn.to_be_bytes());
        octets.extend(hold.to_be_bytes());
        octets.extend(id.to_be_bytes());
        octets.push(u8::try_from(parameters.len()).unwrap());
        octets.extend(parameters);
        octets
    };
    let table = [
        (body(3, 1, 90, 1, &[]), WireError::UnsupportedVersion(3)),
        (body(4, 0, 90, 1, &[]), WireError::ZeroAs),
        (body(4, 1, 2, 1, &[]), WireError::UnacceptableHoldTime(2)),
        (body(4, 1, 90, 0, &[]), WireError::BadIdentifier(Ipv4Addr::UNSPECIFIED)),
        (body(4, 1, 90, 1, &[1, 0]), WireError::UnsupportedParameter(1)),
        (body(4, 1, 90, 1, &[2, 9]), WireError::MalformedOpen),
        (body(4, 1, 90, 1, &[2, 3, 65, 4, 0]), WireError::MalformedOpen),
    ];
    for (octets, error) in table {
        assert_eq!(decode(MessageType::Open, &octets, READER), Err(error), "{octets:x?}");
    }
}

#[test]
fn long_parameters_of_rfc_9072_are_read() {
    let body = [4, 0xfd, 0xe8, 0, 90, 192, 0, 2, 1, 255, 255, 0, 5, 2, 0, 2, 2, 0];
    let Ok(Message::Open(open)) = decode(MessageType::Open, &body, READER) else { panic!("an OPEN") };
    assert_eq!(open.capabilities, [Capability::RouteRefresh]);
}

#[test]
fn capabilities_with_impossible_values_are_ignored_not_answered() {
    let body = [4, 0xfd, 0xe8, 0, 90, 192, 0, 2, 1, 6, 2, 4, 65, 2, 0, 1];
    let Ok(Message::Open(open)) = decode(MessageType::Open, &body, READER) else { panic!("an OPEN") };
    assert_eq!(open.capabilities, [Capability::Unknown(65, vec![0, 1])]);
    assert_eq!(open.asn.get(), 65000);
}

#[test]
fn faults_in_updates_get_the_class_that_rfc_7606_gives_them() {
    const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
    const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8];
    const HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
    let sound = [ORIGIN, PATH, HOP].concat();
    let withdraw = |code, fault| Ok(Some(WireError::TreatAsWithdraw { code, fault }));
    let discard = |code, fault| Ok(Some(WireError::DiscardAttribute { code, fault }));
    let with = |more: &[u8]| [&sound, more].concat();
    use AttributeFault as F;
    type Expected = Result<Option<WireError>, WireError>;
    let table: [(&str, Vec<u8>, Expected); 19] = [
        ("sound", sound.clone(), Ok(None)),
        ("no ORIGIN", [PATH, HOP].concat(), withdraw(1, F::Missing)),
        ("no NEXT_HOP", [ORIGIN, PATH].concat(), withdraw(3, F::Missing)),
        ("ORIGIN of two octets", [&[0x40, 1, 2, 0, 0], PATH, HOP].concat(), withdraw(1, F::Length)),
        ("ORIGIN 3", [&[0x40, 1, 1, 3], PATH, HOP].concat(), withdraw(1, F::Value)),
        ("optional ORIGIN", [&[0xc0, 1, 1, 0], PATH, HOP].concat(), withdraw(1, F::Flags)),
        ("AS_PATH cut off", [ORIGIN, &[0x40, 2, 3, 2, 1, 0], HOP].concat(), withdraw(2, F::Length)),
        ("NEXT_HOP of three octets", [ORIGIN, PATH, &[0x40, 3, 3, 1, 2, 3]].concat(), withdraw(3, F::Length)),
        ("foreign LOCAL_PREF of any length", with(&[0x40, 5, 1, 0]), Ok(None)),
        ("ATOMIC_AGGREGATE with a value", with(&[0x40, 6, 1, 0]), discard(6, F::Length)),
        ("short AGGREGATOR", with(&[0xc0, 7, 2, 0, 0]), discard(7, F::Length)),
        ("half a community", with(&[0xc0, 8, 2, 0, 0]), withdraw(8, F::Length)),
        ("half a large community", with(&[0xc0, 32, 4, 0, 0, 0, 0]), withdraw(32, F::Length)),
        ("ORIGIN twice", with(&[0x40, 1, 1, 2]), Ok(None)),
        ("unknown optional attribute", with(&[0xc0, 99, 1, 0]), Ok(None)),
        ("unknown well-known attribute", with(&[0x40, 99, 1, 0]), Err(WireError::UnknownWellKnown(99))),
        ("attribute past the end", with(&[0xc0, 8, 200, 0]), withdraw(0, F::Truncated)),
        ("MP_REACH twice", with(&[0x80, 14, 0, 0x80, 14, 0]), Err(WireError::MalformedMultiprotocol(14))),
        (
            "MP_REACH with half a next hop",
            with(&[0x80, 14, 5, 0, 2, 1, 8, 0]),
            Err(WireError::MalformedMultiprotocol(14)),
        ),
    ];
    for (what, attributes, expected) in table {
        let mut routes = Vec::new();
        let read = READER.read(&update(&[], &attributes, &[24, 203, 0, 113]), |route| routes.push(route));
        let treated = matches!(&expected, Ok(Some(WireError::TreatAsWithdraw { .. })));
        assert_eq!(read.clone().map(|u| u.tolerated), expected, "{what}");
        if read.is_ok() {
            let prefix = net("203.0.113.0/24");
            let route = if treated { Route::Withdrawn(prefix) } else { Route::Announced(prefix) };
            assert_eq!(routes, [route], "{what}");
        }
    }
}

#[test]
fn updates_whose_prefixes_cannot_be_found_end_the_session() {
    assert_eq!(READER.read(&[0, 9, 0, 0], |_| ()), Err(WireError::MalformedUpdate));
    assert_eq!(READER.read(&[0, 0, 0, 9], |_| ()), Err(WireError::MalformedUpdate));
    for prefix in [&[33, 1, 2, 3, 4, 5][..], &[24, 1, 2]] {
        assert_eq!(READER.read(&update(prefix, &[], &[]), |_| ()), Err(WireError::InvalidNetwork));
        assert_eq!(READER.read(&update(&[], &[], prefix), |_| ()), Err(WireError::InvalidNetwork));
    }
}

#[test]
fn every_fatal_fault_has_its_notification_and_tolerated_ones_have_none() {
    let code = |error: WireError| error.notification().map(|n| (n.code, n.subcode));
    let table = [
        (WireError::NotSynchronized, Some((1, 1))),
        (WireError::BadLength(5), Some((1, 2))),
        (WireError::BadType(9), Some((1, 3))),
        (WireError::UnsupportedVersion(3), Some((2, 1))),
        (WireError::ZeroAs, Some((2, 2))),
        (WireError::BadIdentifier(Ipv4Addr::UNSPECIFIED), Some((2, 3))),
        (WireError::UnsupportedParameter(1), Some((2, 4))),
        (WireError::UnacceptableHoldTime(1), Some((2, 6))),
        (WireError::MalformedOpen, Some((2, 0))),
        (WireError::MalformedUpdate, Some((3, 1))),
        (WireError::UnknownWellKnown(99), Some((3, 2))),
        (WireError::MalformedMultiprotocol(14), Some((3, 9))),
        (WireError::InvalidNetwork, Some((3, 10))),
        (WireError::BadRefreshLength, Some((7, 1))),
        (WireError::TreatAsWithdraw { code: 1, fault: AttributeFault::Missing }, None),
        (WireError::DiscardAttribute { code: 6, fault: AttributeFault::Length }, None),
        (WireError::ShortNotification, None),
    ];
    for (error, expected) in table {
        assert_eq!(code(error.clone()), expected, "{error}");
    }
}

#[test]
fn shutdown_communications_are_read_and_cut_at_a_character() {
    let text = "ä".repeat(200);
    let notification = Notification::shutdown(&text);
    assert_eq!(notification.data.len(), 255, "254 octets of whole characters and the length");
    assert_eq!(
        Notification::shutdown("maintenance\nwindow").to_string(),
        "cease, administrative shutdown (6/2): \"maintenance window\""
    );
    assert_eq!(Notification::new(6, 2).with_data([9, b'x']).communication(), None, "a length that lies");
}
