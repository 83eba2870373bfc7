//! Octets against values: both ways, and every rule that a packet can break.

use std::num::NonZeroU8;

use proptest::prelude::*;

use super::*;

fn packet() -> Control {
    Control {
        diagnostic: Diagnostic::NeighborSignaledDown,
        state: State::Init,
        flags: Flags { poll: true, last: false, independent: true, demand: false },
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: Discriminator::new(0x0102_0304).unwrap(),
        your_discriminator: Discriminator::new(0x0506_0708),
        desired_min_tx: Interval::from_millis(1000),
        required_min_rx: Interval::from_millis(300),
        required_min_echo_rx: Interval::from_millis(50),
    }
}

/// Written by hand from RFC 5880 §4.1.
const OCTETS: [u8; CONTROL_LENGTH] = [
    0x23, 0xa8, 3, 24, // version 1, diag 3; Init, P, C; detect mult; length
    1, 2, 3, 4, 5, 6, 7, 8, // discriminators
    0x00, 0x0f, 0x42, 0x40, // 1 s
    0x00, 0x04, 0x93, 0xe0, // 300 ms
    0x00, 0x00, 0xc3, 0x50, // 50 ms
];

#[test]
fn a_packet_is_written_as_the_rfc_draws_it() {
    assert_eq!(packet().encode(), OCTETS);
    assert_eq!(Control::decode(&OCTETS), Ok((packet(), Authentication::Absent)));
}

#[test]
fn octets_after_the_packet_are_left_alone() {
    let longer = [&OCTETS[..], &[0xff; 30]].concat();
    assert_eq!(Control::decode(&longer), Ok((packet(), Authentication::Absent)));
}

/// A fault, and what it is refused as.
type Fault = (fn(&mut Vec<u8>), Refused);

/// In the order of RFC 5880 §6.8.6.
const FAULTS: [Fault; 6] = [
    (|octets| octets[0] = 0x43, Refused::Version(2)),
    (|octets| octets[3] = 23, Refused::TooShort(23)),
    (|octets| octets[3] = 25, Refused::LengthBeyondPayload { length: 25, payload: 24 }),
    (|octets| octets[2] = 0, Refused::ZeroMultiplier),
    (|octets| octets[1] |= 1, Refused::Multipoint),
    (|octets| octets[4..8].fill(0), Refused::ZeroMyDiscriminator),
];

#[test]
fn each_rule_is_checked_and_the_first_that_is_broken_is_named() {
    for (first, (fault, refused)) in FAULTS.iter().enumerate() {
        for (second, (other, _)) in FAULTS.iter().enumerate().skip(first) {
            let mut octets = OCTETS.to_vec();
            other(&mut octets);
            // The length is one octet: the earlier rule's fault is what stays in it.
            fault(&mut octets);
            assert_eq!(Control::decode(&octets), Err(*refused), "faults {first} and {second}");
        }
    }
}

#[test]
fn authentication_is_seen_and_needs_two_octets_more() {
    let mut octets = OCTETS.to_vec();
    octets[1] |= 1 << 2;
    assert_eq!(Control::decode(&octets), Err(Refused::TooShort(24)));
    octets[3] = 26;
    assert_eq!(Control::decode(&octets), Err(Refused::LengthBeyondPayload { length: 26, payload: 24 }));
    octets.extend([1, 2]);
    assert_eq!(Control::decode(&octets), Ok((packet(), Authentication::Present)));
}

#[test]
fn a_datagram_that_ends_early_is_refused_wherever_it_ends() {
    for length in 0..CONTROL_LENGTH {
        let refused = Control::decode(&OCTETS[..length]).unwrap_err();
        let expected = if length < 4 {
            Refused::TooShort(u8::try_from(length).unwrap())
        } else {
            Refused::LengthBeyondPayload { length: 24, payload: length }
        };
        assert_eq!(refused, expected, "{length} octets");
    }
}

#[test]
fn codes_survive_and_labels_are_told_apart() {
    for code in 0..32 {
        assert_eq!(Diagnostic::from_code(code).code(), code);
    }
    let labels: std::collections::BTreeSet<_> = Refused::LABELS.into_iter().collect();
    assert_eq!(labels.len(), Refused::LABELS.len());
    assert_eq!(Refused::ForeignEcho.label(), "foreignEcho");
    assert_eq!(Refused::ForeignEcho.index(), Refused::LABELS.len() - 1);
}

#[test]
fn only_echo_packets_like_ours_are_read() {
    let echo = Echo { discriminator: Discriminator::new(7).unwrap(), nonce: 0x0102_0304_0506_0708 };
    let octets = echo.encode();
    assert_eq!(octets, [0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(Echo::decode(&octets), Ok(echo));
    assert_eq!(Echo::decode(&octets[..11]), Err(Refused::ForeignEcho));
    assert_eq!(Echo::decode(&[&octets[..], &[0]].concat()), Err(Refused::ForeignEcho));
    assert_eq!(Echo::decode(&[0; ECHO_LENGTH]), Err(Refused::ForeignEcho), "discriminator 0");
}

prop_compose! {
    fn any_packet()(
        codes in (0_u8..32, 0_usize..4, 1_u8..=255),
        bits in any::<[bool; 4]>(),
        words in (1_u32.., any::<u32>(), any::<[u32; 3]>()),
    ) -> Control {
        let (mine, yours, [tx, rx, echo]) = words;
        Control {
            diagnostic: Diagnostic::from_code(codes.0),
            state: State::ALL[codes.1],
            flags: Flags { poll: bits[0], last: bits[1], independent: bits[2], demand: bits[3] },
            multiplier: NonZeroU8::new(codes.2).unwrap(),
            my_discriminator: Discriminator::new(mine).unwrap(),
            your_discriminator: Discriminator::new(yours),
            desired_min_tx: Interval::from_micros(tx),
            required_min_rx: Interval::from_micros(rx),
            required_min_echo_rx: Interval::from_micros(echo),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(packet in any_packet()) {
        prop_assert_eq!(Control::decode(&packet.encode()), Ok((packet, Authentication::Absent)));
    }

    #[test]
    fn what_is_read_is_written_again(octets in any::<[u8; CONTROL_LENGTH]>()) {
        // Make most of them readable: version 1, no authentication, the length.
        let mut octets = octets;
        octets[0] = octets[0] & 0x1f | 0x20;
        octets[1] &= !0b101;
        octets[3] = 24;
        match Control::decode(&octets) {
            Ok((packet, _)) => prop_assert_eq!(packet.encode(), octets),
            Err(refused) => prop_assert!(octets[2] == 0 || octets[4..8] == [0; 4], "{}", refused),
        }
    }
}
