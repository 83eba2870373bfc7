//! The lab's own promises, on labs without a control plane: wires, faults, and
//! that nothing stays behind. Needs root.

use clarion_lab::addressing::{client, node};
use clarion_lab::machine::Machine;
use clarion_lab::prober::Prober;
use clarion_lab::wait::poll;
use clarion_lab::{Cut, Lab, Spec};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

/// Asks until there is an answer; `None` after [`SOON`].
fn answer(prober: &Prober, target: IpAddr) -> Option<[u8; 6]> {
    poll(SOON, || prober.ask(target, SHORT)).expect("asks").map(|answer| answer.mac)
}

#[test]
fn nodes_answer_from_their_own_mac_until_the_power_fails() {
    let mut lab = Lab::start(Spec::wires(2, 1)).expect("starts");
    let prober = Prober::new(lab.client(1).expect("client"), client(1)).expect("prober");
    for index in [1, 2] {
        assert_eq!(answer(&prober, node(index).v4.into()), Some(node(index).mac), "ARP, node {index}");
        assert_eq!(answer(&prober, node(index).v6.into()), Some(node(index).mac), "NDP, node {index}");
    }
    lab.power_off("n1").expect("powers off");
    assert_eq!(prober.ask(node(1).v4.into(), SHORT).expect("asks"), None);
    assert_eq!(answer(&prober, node(2).v4.into()), Some(node(2).mac), "the other is not touched");
    lab.power_on("n1").expect("powers on");
    assert_eq!(answer(&prober, node(1).v4.into()), Some(node(1).mac));
}

#[test]
fn a_cut_wire_is_silent_in_both_ways_of_cutting_and_heals() {
    let lab = Lab::start(Spec::wires(1, 1)).expect("starts");
    let prober = Prober::new(lab.client(1).expect("client"), client(1)).expect("prober");
    let carrier = || -> String {
        let text = lab.nodes()[0].machine().output("cat", &["/sys/class/net/eth0/carrier"]).expect("reads");
        text.trim().to_owned()
    };
    for (how, seen) in [(Cut::Carrier, "0"), (Cut::Silent, "1")] {
        assert!(answer(&prober, node(1).v4.into()).is_some());
        lab.cut_link("n1", how).expect("cuts");
        assert_eq!(prober.ask(node(1).v4.into(), SHORT).expect("asks"), None, "{how:?}");
        assert_eq!(carrier(), seen, "{how:?}");
        lab.heal_link("n1").expect("heals");
        assert_eq!(answer(&prober, node(1).v4.into()), Some(node(1).mac), "{how:?}");
    }
}

#[test]
fn a_watch_sees_when_an_answer_stops() {
    let lab = Lab::start(Spec::wires(1, 1)).expect("starts");
    let prober = Prober::new(lab.client(1).expect("client"), client(1)).expect("prober");
    assert!(answer(&prober, node(1).v4.into()).is_some());
    let watch = prober.watch(node(1).v4.into(), Duration::from_millis(10));
    let cut = lab.cut_link("n1", Cut::Silent).expect("cuts");
    let asked = poll(SOON, || Ok((watch.asked_since(cut) > 5).then_some(()))).expect("no error");
    assert!(asked.is_some(), "the watch asks on");
    let samples = watch.stop().expect("stops");
    let after = |s: &&clarion_lab::prober::Sample| s.sent > cut + SHORT;
    assert!(samples.iter().filter(after).all(|s| s.answers.is_empty()));
}

#[test]
fn each_machine_has_a_bpffs_of_its_own() {
    let lab = Lab::start(Spec::wires(2, 0)).expect("starts");
    let machine = |index: usize| -> &Machine { lab.nodes()[index].machine() };
    machine(0).output("mkdir", &["/sys/fs/bpf/mine"]).expect("makes");
    let has = |index| machine(index).output("ls", &["/sys/fs/bpf"]).expect("lists").contains("mine");
    assert_eq!((has(0), has(1)), (true, false));
    assert!(!Path::new("/sys/fs/bpf/mine").exists(), "nor is it the host's");
}

#[test]
fn nothing_is_left_of_a_lab_that_ended() {
    let mut spec = Spec::wires(2, 1);
    spec.routers = 1;
    let lab = Lab::start(spec).expect("starts");
    let (id, dir) = (lab.id().to_owned(), lab.dir().to_owned());
    let processes: Vec<_> = lab.processes().map(clarion_lab::process::Process::id).collect();
    assert!(!processes.is_empty() && namespaces(&id) > 0 && dir.exists());
    lab.stop();
    assert_eq!(namespaces(&id), 0);
    assert!(!dir.exists());
    assert!(processes.iter().all(|process| !process.alive()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
    assert!(!mounts.contains(&id), "{mounts}");
}

#[test]
fn nothing_is_left_when_the_holder_is_killed() {
    let program = env!("CARGO_BIN_EXE_lab");
    let mut holder = std::process::Command::new(program)
        .args(["--wires", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    let line = lines.find_map(|line| line.ok().filter(|l| l.contains("ip netns exec"))).expect("directions");
    let id = line
        .split_whitespace()
        .nth(3)
        .and_then(|name| name.split('-').next())
        .expect("a namespace")
        .to_owned();
    assert!(namespaces(&id) > 0, "{line}");
    holder.kill().expect("kills");
    holder.wait().expect("ends");
    let gone = poll(SOON, || Ok((namespaces(&id) == 0).then_some(()))).expect("no error");
    assert!(gone.is_some(), "namespaces of {id} stayed");
}

fn namespaces(id: &str) -> usize {
    let all = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(id)).count()
}
