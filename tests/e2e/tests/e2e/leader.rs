//! Several controllers, of which one leads: what happens to a thousand Services when
//! the leader dies, hangs, is stopped, or loses the API server.

use anyhow::{Context, Result, ensure};
use clarion_e2e::controllers::{Leader, all_ready, freeze, holder, leader, processes};
use clarion_e2e::crowd::{all_settled, create, create_one, disperse, present, watch};
use clarion_e2e::harness::Case;
use clarion_lab::http::Request;
use clarion_lab::{Lab, NAMESPACE};
use nix::sys::signal::Signal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("a leader killed twice amid a thousand creations loses, doubles and moves no address", killed),
    ("a leader paused for longer than its lease writes nothing afterwards", paused),
    ("a leader that is stopped hands over at once", stopped),
    ("a leader cut off from the API server is replaced and stands by when it is back", cut_off),
    ("a restart with a thousand Services keeps every address", restart),
];

/// In each creation.
const COUNT: usize = 1_000;
/// A Lease lasts four seconds; nobody takes it from a silent holder before three.
const SILENCE: Duration = Duration::from_secs(3);
/// Longest wait for another leader.
const DEADLINE: Duration = Duration::from_secs(20);

fn killed(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    let failure = Mutex::new(None);
    let kill = |number| {
        if number == COUNT / 3 || number == COUNT * 2 / 3 {
            match leader(lab) {
                Ok(leader) => leader.process.kill(),
                Err(error) => {
                    *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                }
            }
        }
    };
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(lab, "killed-", COUNT));
        create(lab, "killed", COUNT, None, &kill)?;
        watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?
    })?;
    none(failure)?;
    let held = all_settled(lab, COUNT)?;
    ensure!(seen.moved.is_empty(), "{} Services were moved: {:?}", seen.moved.len(), seen.moved.first());
    ensure!(held == seen.addresses, "addresses changed after all had one");
    disperse(lab)
}

/// An error of a worker, for the thread that asks for it afterwards.
type Failure = Mutex<Option<anyhow::Error>>;

fn keep(failure: &Failure, error: anyhow::Error) {
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
}

fn none(failure: Failure) -> Result<()> {
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Waits until another than `old` leads.
fn another(lab: &Lab, old: &Leader) -> Result<()> {
    lab.wait_until("another leader", DEADLINE, || {
        Ok(Some(holder(lab)?).filter(|now| !now.is_empty() && *now != old.pod))
    })?;
    Ok(())
}

/// Waits until the log of a controller says something after its first `skip` bytes.
fn says(lab: &Lab, pod: &str, skip: usize, words: &str) -> Result<()> {
    lab.wait_until(&format!("{pod} says {words:?}"), DEADLINE, || {
        Ok(log(lab, pod).get(skip..).is_some_and(|text| text.contains(words)).then_some(()))
    })
}

fn log(lab: &Lab, pod: &str) -> String {
    let logs = lab.pod_logs(NAMESPACE).into_iter().filter(|file| file.to_string_lossy().contains(pod));
    logs.map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()).collect()
}

/// How many writes of Services' status the API server has answered so far, refused ones
/// among them: also an attempt that fails is one.
fn status_writes(lab: &Lab) -> Result<u64> {
    let metrics = lab.api(&Request::get("/metrics"))?.text();
    let mut sum = 0;
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        if line.contains("resource=\"services\"") && line.contains("subresource=\"status\"") {
            let (_, value) = line.rsplit_once(' ').context("a sample")?;
            sum += value.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// The events that a controller has told.
fn events_of(lab: &Lab, pod: &str) -> Result<usize> {
    let events = lab.list("/api/v1/namespaces/crowd/events")?;
    Ok(events.iter().filter(|event| event["reportingInstance"] == *pod).count())
}

fn paused(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    let old = leader(lab)?;
    let skip = log(lab, &old.pod).len();
    // Its queues are full of plans and events when it is paused.
    let failure = Mutex::new(None);
    let pause = |number| {
        if number == COUNT / 2
            && let Err(error) = freeze(lab, old.process)
        {
            keep(&failure, error);
        }
    };
    let begun = create(lab, "paused", COUNT, None, &pause).and_then(|()| {
        another(lab, &old)?;
        all_settled(lab, COUNT)
    });
    let before =
        begun.and_then(|held| Ok((held, present(lab)?, status_writes(lab)?, events_of(lab, &old.pod)?)));
    old.process.resume();
    let (held, services, writes, events) = before?;
    none(failure)?;
    says(lab, &old.pod, skip, "not leading any longer")?;
    // It is alive, and has seen everything: it would write now, if it did.
    all_ready(lab)?;
    create_one(lab, "later", None)?;
    let later = all_settled(lab, COUNT + 1)?;
    let now = present(lab)?;
    let changed: Vec<_> = services.iter().filter(|(name, was)| now.get(*name) != Some(was)).collect();
    ensure!(changed.is_empty(), "{} Services were written again, {:?}", changed.len(), changed.first());
    ensure!(held.iter().all(|(name, address)| later.get(name) == Some(address)), "an address changed");
    ensure!(status_writes(lab)? == writes + 1, "{} writes, not one", status_writes(lab)? - writes);
    ensure!(events_of(lab, &old.pod)? == events, "the paused leader told events");
    disperse(lab)
}

fn stopped(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    let old = leader(lab)?;
    let begin = Instant::now();
    old.process.signal(Signal::SIGTERM);
    // What is created at once may still be the old one's.
    another(lab, &old)?;
    create_one(lab, "stopped", None)?;
    all_settled(lab, 1)?;
    let took = begin.elapsed();
    ensure!(took < SILENCE, "{took:?}: the lease was waited for");
    disperse(lab)
}

fn cut_off(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    let old = leader(lab)?;
    let skip = log(lab, &old.pod).len();
    let centre = lab.control_plane()?.machine().netns();
    let port = |state: &str| centre.ip(&format!("link set {} {state}", old.node));
    port("down")?;
    let replaced = another(lab, &old).and_then(|()| {
        create_one(lab, "cut-off", None)?;
        all_settled(lab, 1)
    });
    port("up")?;
    let held = replaced?;
    says(lab, &old.pod, skip, "not leading any longer")?;
    all_ready(lab)?;
    ensure!(holder(lab)? != old.pod, "it leads again without need");
    ensure!(all_settled(lab, 1)? == held, "an address changed");
    disperse(lab)
}

fn restart(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    create(lab, "stays", COUNT, None, &|_| ())?;
    let before = all_settled(lab, COUNT)?;
    let old = processes(lab);
    old.iter().for_each(|process| process.kill());
    create_one(lab, "later", None)?;
    let after = all_settled(lab, COUNT + 1)?;
    let changed = before.iter().filter(|(name, address)| after.get(*name) != Some(address)).count();
    ensure!(changed == 0, "{changed} addresses changed");
    disperse(lab)
}
