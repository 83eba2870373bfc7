//! What the simulator does not send: bad datagrams, changed keys, plans that
//! take something away.

use super::*;
use clarion_fence::{Asked, Key, Leases, Peer};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

#[derive(Default)]
struct Maps {
    own: Option<Own>,
    entries: BTreeMap<IpAddr, Entry>,
}

impl Kernel for Maps {
    fn own(&self) -> Option<Own> {
        self.own
    }
    fn set_own(&mut self, own: Own) {
        self.own = Some(own);
    }
    fn leases(&self) -> Leases {
        Leases([clarion_fence::Lease { voter: NodeId::NOBODY, inc: 0, until: 0 }; VOTERS])
    }
    fn peer(&self, _: NodeId) -> Option<Peer> {
        None
    }
    fn peers(&self) -> Vec<NodeId> {
        Vec::new()
    }
    fn watch(&mut self, _: NodeId, _: u64) {}
    fn unwatch(&mut self, _: NodeId) {}
    fn granted(&self, _: NodeId) -> u64 {
        0
    }
    fn set_granted(&mut self, _: NodeId, _: u64) {}
    fn ask(&mut self, _: NodeId, _: u64, _: u64) -> Asked {
        Asked::NotSuspect
    }
    fn entries(&self) -> Vec<(IpAddr, Entry)> {
        self.entries.iter().map(|(address, entry)| (*address, *entry)).collect()
    }
    fn set_entry(&mut self, address: IpAddr, entry: Entry) {
        self.entries.insert(address, entry);
    }
    fn delete_entry(&mut self, address: IpAddr) {
        self.entries.remove(&address);
    }
}

fn keys() -> Keys {
    Keys { current: Key::new(1, [7; 16]), other: Key::new(0, [0; 16]) }
}

fn plan(version: u64, nodes: &[NodeId], addresses: &[IpAddr]) -> Input {
    let placement = Arc::new(Placement { epoch: 1, moves: false, nodes: nodes.to_vec() });
    Input::Plan(Arc::new(Plan {
        version,
        nodes: nodes.iter().copied().collect(),
        // Nobody votes: what is tested here needs no lease.
        voters: BTreeMap::new(),
        stay: false,
        barred: BTreeSet::new(),
        places: addresses.iter().map(|address| (*address, placement.clone())).collect(),
    }))
}

struct Bench {
    machine: Machine,
    maps: Maps,
    now: u64,
}

impl Bench {
    /// A node that owns [`ADDRESS`] under epoch 1.
    fn owner() -> Self {
        let mut maps = Maps::default();
        let machine = Machine::start(ME, 5, Timing::default(), keys(), MS, &mut maps);
        let mut bench = Self { machine, maps, now: MS };
        bench.give(plan(1, &[ME, OTHER], &[ADDRESS]));
        for _ in 0..20 {
            bench.now = bench.machine.next_deadline().max(bench.now + MS);
            bench.poll();
        }
        assert_eq!(bench.epoch(), Some(1), "the first of the list took what nobody answered");
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.now += MS;
        self.machine.handle(self.now, input, &mut self.maps, &mut out);
        out
    }

    fn poll(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.poll(self.now, &mut self.maps, &mut out);
        out
    }

    fn epoch(&self) -> Option<u64> {
        self.maps.entries.get(&ADDRESS).map(|entry| entry.epoch)
    }

    fn claim(&self, header: Header, epoch: u64, keys: &Keys) -> Vec<u8> {
        let items = vec![Item { address: ADDRESS, epoch }];
        encode(&header, &Body::Claim { node: OTHER, inc: 1, items }, keys)
    }

    fn header(&self) -> Header {
        Header { from: OTHER, to: ME, inc: 1, sent: self.now }
    }
}

#[test]
fn a_greater_claim_takes_the_entry_and_a_smaller_one_is_answered() {
    let mut bench = Bench::owner();
    let smaller = bench.claim(bench.header(), 0, &keys());
    let answers = bench.give(Input::Datagram(smaller));
    assert!(matches!(&answers[..], [Output::Send(OTHER, _)]), "{answers:?}");
    assert_eq!(bench.epoch(), Some(1));
    let greater = bench.claim(bench.header(), 1, &keys());
    bench.give(Input::Datagram(greater));
    assert_eq!(bench.epoch(), None, "of equal epochs the greater node stays");
    assert_eq!(bench.machine.owner(ADDRESS), Some(Record { epoch: 1, node: OTHER, inc: 1 }));
}

#[test]
fn bad_datagrams_are_counted_and_change_nothing() {
    let mut bench = Bench::owner();
    let header = bench.header();
    let good = bench.claim(header, 9, &keys());
    let forged = Keys { current: Key::new(1, [8; 16]), ..keys() };
    let strange = Keys { current: Key::new(3, [8; 16]), ..keys() };
    let with = |change: fn(&mut Header)| {
        let mut header = header;
        change(&mut header);
        bench.claim(header, 9, &keys())
    };
    let bad = [
        (bench.claim(header, 9, &forged), Why::Unreadable(DecodeError::BadTag)),
        (bench.claim(header, 9, &strange), Why::Unreadable(DecodeError::UnknownKey)),
        (good[..good.len() - 1].to_vec(), Why::Unreadable(DecodeError::BadTag)),
        (good[..5].to_vec(), Why::Unreadable(DecodeError::Length)),
        (vec![0xff; 9000], Why::Unreadable(DecodeError::Foreign)),
        (Vec::new(), Why::Unreadable(DecodeError::Length)),
        (with(|header| header.to = NodeId(9)), Why::Misdirected),
        (with(|header| header.from = ME), Why::Misdirected),
        (with(|header| header.from = NodeId(9)), Why::Stranger),
    ];
    let mut expected: BTreeMap<Why, u64> = BTreeMap::new();
    for (bytes, why) in bad {
        let out = bench.give(Input::Datagram(bytes));
        *expected.entry(why).or_default() += 1;
        assert_eq!((out, bench.epoch()), (Vec::new(), Some(1)), "{why:?}");
    }
    assert_eq!(bench.machine.dropped(), &expected);
}

#[test]
fn a_replayed_claim_does_not_take_an_address_twice() {
    let mut bench = Bench::owner();
    let claim = bench.claim(bench.header(), 9, &keys());
    bench.give(Input::Datagram(claim.clone()));
    assert_eq!(bench.epoch(), None);
    bench.give(Input::Datagram(claim));
    assert_eq!(bench.machine.dropped(), &BTreeMap::from([(Why::Replayed, 1)]));
}

#[test]
fn a_forged_vote_is_counted() {
    let mut bench = Bench::owner();
    let vote = clarion_fence::Vote { about: OTHER, inc: 1, nonce: 1 };
    let forged = clarion_fence::seal(&Message::ask(OTHER, ME, 1, vote), &Key::new(1, [8; 16]));
    bench.give(Input::Yes(forged));
    assert_eq!(
        bench.machine.dropped(),
        &BTreeMap::from([(Why::Rejected(clarion_fence::Rejected::BadTag), 1)])
    );
}

#[test]
fn while_keys_change_both_are_valid_and_then_only_the_new_one() {
    let mut bench = Bench::owner();
    let new = Key::new(2, [9; 16]);
    bench.give(Input::Keys(Keys { current: new, other: keys().current }));
    let old = bench.claim(bench.header(), 0, &keys());
    assert_eq!(bench.give(Input::Datagram(old)).len(), 1, "answered");
    bench.give(Input::Keys(Keys { current: new, other: Key::new(0, [0; 16]) }));
    let old = bench.claim(bench.header(), 9, &keys());
    bench.give(Input::Datagram(old));
    assert_eq!(bench.epoch(), Some(1));
    assert_eq!(bench.machine.dropped(), &BTreeMap::from([(Why::Unreadable(DecodeError::UnknownKey), 1)]));
}

#[test]
fn an_address_that_no_plan_has_any_more_is_given_up_and_an_older_plan_is_not_heard() {
    let mut bench = Bench::owner();
    bench.give(plan(1, &[ME, OTHER], &[]));
    assert_eq!(bench.epoch(), Some(1), "not a newer plan");
    bench.give(plan(2, &[ME, OTHER], &[]));
    assert_eq!((bench.epoch(), bench.machine.owner(ADDRESS)), (None, None));
}

#[test]
fn a_restarted_agent_goes_on_with_what_the_maps_hold() {
    let mut bench = Bench::owner();
    let mut out = Vec::new();
    let station = OTHER;
    bench.maps.entries.insert(ADDRESS, Entry { epoch: 4, inc: 5, station });
    let stale = IpAddr::from([192, 0, 2, 9]);
    bench.maps.entries.insert(stale, Entry { epoch: 4, inc: 4, station: ME });
    // The boot's incarnation is 5; a lower argument does not set it back.
    let mut machine = Machine::start(ME, 3, Timing::default(), keys(), bench.now, &mut bench.maps);
    machine.poll(bench.now, &mut bench.maps, &mut out);
    assert_eq!(machine.held().collect::<Vec<_>>(), [(ADDRESS, Entry { epoch: 4, inc: 5, station: ME })]);
    assert!(!bench.maps.entries.contains_key(&stale), "an entry of the incarnation before");
}

#[test]
fn what_was_claimed_before_the_plan_came_is_known_when_it_comes() {
    let mut bench = Bench::owner();
    let later = IpAddr::from([192, 0, 2, 2]);
    let items = vec![Item { address: later, epoch: 9 }];
    let claim = encode(&bench.header(), &Body::Claim { node: OTHER, inc: 1, items }, &keys());
    bench.give(Input::Datagram(claim));
    assert_eq!(bench.machine.owner(later), None);
    bench.give(plan(2, &[ME, OTHER], &[ADDRESS, later]));
    let record = Some(Record { epoch: 9, node: OTHER, inc: 1 });
    assert_eq!(bench.machine.owner(later), record);
    bench.give(plan(3, &[ME, OTHER], &[ADDRESS]));
    bench.give(plan(4, &[ME, OTHER], &[ADDRESS, later]));
    assert_eq!(bench.machine.owner(later), record, "taken out of the plan for a moment");
}
