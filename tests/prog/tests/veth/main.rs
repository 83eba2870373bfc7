//! The data plane on veth pairs: pins, adoption, attach modes, plans, and answers
//! to a real kernel that resolves neighbours.

mod adopt;
mod attach;
mod fence;
mod keep;
mod resolve;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clarion_abi::ABI_VERSION;
use clarion_dataplane::{AddressKey, AttachMode, Dataplane, Desired, Entry, Observed, Options, Plan, Report};
use clarion_prog_tests::frames::Mac;
use clarion_prog_tests::sandbox::{self, Peer};
use clarion_prog_tests::wire::if_index;

const OURS: Mac = [0x02, 0, 0, 0, 0, 0xaa];
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);
/// How long anything on a veth may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test on a node: a sandbox with the interface `node0` (its index is given),
/// whose other end `far0` is in a namespace of its own.
fn on_a_node(work: impl FnOnce(&Path, u32) -> anyhow::Result<()> + Send) {
    sandbox::enter(|bpffs| {
        let peer = Peer::new()?;
        peer.veth("node0", "far0")?;
        work(bpffs, if_index("node0")?)
    })
    .expect("a test that passes");
}

fn options(bpffs: &Path, mode: AttachMode) -> Options {
    Options { pin_dir: sandbox::pin_dir(bpffs), mode, ..Options::default() }
}

/// Where the pins of this ABI are.
fn pins(bpffs: &Path) -> PathBuf {
    sandbox::pin_dir(bpffs).join(format!("v{ABI_VERSION}"))
}

fn open(bpffs: &Path, mode: AttachMode) -> anyhow::Result<Dataplane> {
    Ok(Dataplane::open(options(bpffs, mode))?)
}

/// Both addresses answered on some interfaces, which are attached.
fn desired(interfaces: &[u32], mac: Mac) -> Desired {
    let key = |ifindex: u32, address: IpAddr| AddressKey { ifindex, vlan: 0, address };
    Desired {
        interfaces: interfaces.iter().copied().collect(),
        addresses: interfaces
            .iter()
            .flat_map(|ifindex| [key(*ifindex, VIP4.into()), key(*ifindex, VIP6.into())])
            .map(|key| (key, Entry::Answer { mac, epoch: 1 }))
            .collect(),
    }
}

/// Observes, plans, applies; all of it must work.
fn reconcile(dataplane: &mut Dataplane, desired: &Desired) -> anyhow::Result<Report> {
    let plan = Plan::new(&dataplane.observe()?, desired);
    let report = dataplane.apply(&plan);
    assert!(report.is_ok(), "{report:#?}");
    let left = Plan::new(&dataplane.observe()?, desired);
    assert!(left.is_empty(), "left over: {left:?}");
    Ok(report)
}

/// Waits until a condition holds; shows the state when it does not in time.
fn eventually<S: std::fmt::Debug>(
    what: &str,
    mut state: impl FnMut() -> anyhow::Result<S>,
    holds: impl Fn(&S) -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = state()?;
        if holds(&seen) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; last {seen:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn addresses(observed: &Observed) -> BTreeSet<AddressKey> {
    observed.addresses.keys().copied().collect()
}

mod property {
    //! Whatever is there and whatever should be, one plan gets from one to the other.

    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    fn keys() -> impl Strategy<Value = AddressKey> {
        let address = prop_oneof![
            (1_u8..6).prop_map(|last| IpAddr::from([192, 0, 2, last])),
            (1_u16..6).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
        ];
        (1_u32..3, prop_oneof![Just(0_u16), Just(100)], address)
            .prop_map(|(ifindex, vlan, address)| AddressKey { ifindex, vlan, address })
    }

    fn entries() -> impl Strategy<Value = Entry> {
        prop_oneof![
            (1_u8..4, 0_u64..3).prop_map(|(last, epoch)| Entry::Answer { mac: [2, 0, 0, 0, 0, last], epoch }),
            Just(Entry::Silence),
        ]
    }

    fn states() -> impl Strategy<Value = BTreeMap<AddressKey, Entry>> {
        proptest::collection::btree_map(keys(), entries(), 0..12)
    }

    #[test]
    fn after_a_plan_is_applied_the_next_one_is_empty_and_the_kernel_holds_what_was_asked() {
        sandbox::enter(|bpffs| {
            let mut dataplane = open(bpffs, AttachMode::Auto)?;
            // The same maps throughout: each state is reached from the one before.
            let dataplane = std::cell::RefCell::new(&mut dataplane);
            TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() })
                .run(&states(), |addresses| {
                    let mut dataplane = dataplane.borrow_mut();
                    let desired = Desired { addresses, interfaces: BTreeSet::new() };
                    let plan = Plan::new(&dataplane.observe().unwrap(), &desired);
                    let report = dataplane.apply(&plan);
                    prop_assert!(report.is_ok(), "{:?}", report);
                    let observed = dataplane.observe().unwrap();
                    prop_assert_eq!(&observed.addresses, &desired.addresses);
                    prop_assert!(Plan::new(&observed, &desired).is_empty());
                    // Answered addresses have counters of their own, that begin at 0.
                    let counters = dataplane.counters().unwrap();
                    let answered =
                        desired.addresses.values().filter(|entry| **entry != Entry::Silence).count();
                    prop_assert_eq!(counters.answers.len(), answered);
                    prop_assert!(counters.answers.values().all(|count| *count == 0));
                    Ok(())
                })
                .map_err(|error| anyhow::anyhow!("{error}"))
        })
        .unwrap();
    }
}
