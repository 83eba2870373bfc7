//! Any datagram is read without harm, and what was written is read again.

use super::*;
use clarion_fence::Key;
use proptest::prelude::*;

fn keys() -> Keys {
    Keys { current: Key::new(1, [7; 16]), other: Key::new(2, [8; 16]) }
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (any::<IpAddr>(), any::<u64>()).prop_map(|(address, epoch)| Item {
        // A mapped address has one form.
        address: address.to_canonical(),
        epoch,
    });
    proptest::collection::vec(item, 0..=MAX_ITEMS)
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<bool>(), items()).prop_map(|(handover, items)| Body::Assign { handover, items }),
        (any::<u64>(), any::<u64>(), items()).prop_map(|(node, inc, items)| Body::Claim {
            node: NodeId(node),
            inc,
            items
        }),
        items().prop_map(|items| Body::Seek { items }),
        items().prop_map(|items| Body::Silent { items }),
    ]
}

fn header() -> Header {
    Header { from: NodeId(3), to: NodeId(4), inc: 5, sent: 6 }
}

#[test]
fn a_full_datagram_fits_the_segment() {
    let items = vec![Item { address: IpAddr::from([192, 0, 2, 1]), epoch: 1 }; MAX_ITEMS + 9];
    let bytes = encode(&header(), &Body::Claim { node: NodeId(1), inc: 1, items }, &keys());
    assert_eq!(bytes.len(), 1408);
    assert!(decode(&bytes, &keys()).is_ok());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_under_either_key(body in bodies()) {
        let bytes = encode(&header(), &body, &keys());
        prop_assert_eq!(decode(&bytes, &keys()), Ok((header(), body.clone())));
        let rotated = Keys { current: keys().other, other: keys().current };
        prop_assert_eq!(decode(&bytes, &rotated), Ok((header(), body)));
        let gone = Keys { current: keys().other, other: keys().other };
        prop_assert_eq!(decode(&bytes, &gone), Err(DecodeError::UnknownKey));
    }

    #[test]
    fn no_changed_byte_passes(body in bodies(), at: proptest::sample::Index, change in 1u8..) {
        let mut bytes = encode(&header(), &body, &keys());
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(decode(&bytes, &keys()).is_err());
    }

    /// Under the right key, so that the reader behind the tag is reached.
    #[test]
    fn any_bytes_are_read_without_harm(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1600), ours: bool, kind in 0u8..6, signed: bool,
    ) {
        if ours && bytes.len() > 8 {
            bytes[..5].copy_from_slice(&[MAGIC[0], MAGIC[1], VERSION, kind, 1]);
        }
        if signed {
            let tag = tag_bytes(&keys().current, &bytes);
            bytes.extend_from_slice(&tag.to_le_bytes());
        }
        if let Ok((_, body)) = decode(&bytes, &keys()) {
            let (Body::Assign { items, .. }
            | Body::Claim { items, .. }
            | Body::Seek { items }
            | Body::Silent { items }) = body;
            prop_assert!(items.len() <= MAX_ITEMS);
        }
    }
}
