//! Which of two objects is in force: the same for everybody, over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_api::{CONDITION_VALID, IPAddressPool, IPAddressPoolStatus};
use clarion_config::{Config, Objects, Outcome, follow, parse};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proptest::prelude::*;

use crate::support::{NAMESPACE, pool};

/// The pools as the API server has them.
#[derive(Debug, Clone, Default)]
struct Server {
    pools: BTreeMap<String, IPAddressPool>,
    born: u32,
}

impl Server {
    /// Applies a pool: born later than those before it (two a second), or edited.
    fn apply(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        let fresh = pool(name, self.born / 2, addresses);
        self.born += 1;
        let pool = self.pools.entry(name.to_owned()).or_insert_with(|| Arc::unwrap_or_clone(fresh.clone()));
        if pool.spec != fresh.spec {
            pool.spec = fresh.spec.clone();
            pool.metadata.generation = pool.metadata.generation.map(|g| g + 1);
        }
        pool.metadata.generation.get_or_insert(1);
        self
    }

    /// Writes the conditions of an outcome, as the controller does.
    fn tell(&mut self, outcome: &Outcome) -> &mut Self {
        for (name, pool) in &mut self.pools {
            let wrong = outcome.problems.iter().any(|problem| problem.object.name == *name);
            let condition = Condition {
                type_: CONDITION_VALID.to_owned(),
                status: if wrong { "False" } else { "True" }.to_owned(),
                reason: "Any".to_owned(),
                message: String::new(),
                observed_generation: pool.metadata.generation,
                last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
            };
            pool.status = Some(IPAddressPoolStatus { conditions: vec![condition], ..Default::default() });
        }
        self
    }

    fn objects(&self) -> Objects {
        let pools = self.pools.values().cloned().map(Arc::new).collect();
        Objects { namespace: NAMESPACE.to_owned(), pools, ..Objects::default() }
    }

    fn leader(&self, memory: &Config) -> Outcome {
        parse(&self.objects(), memory)
    }

    fn follower(&self, memory: &Config) -> Outcome {
        follow(&self.objects(), memory)
    }
}

fn names(config: &Config) -> Vec<String> {
    config.pools.keys().map(ToString::to_string).collect()
}

/// What everybody has in force who has just been started.
fn restarted(server: &Server) -> [Vec<String>; 2] {
    let nothing = Config::default();
    [names(&server.leader(&nothing).config), names(&server.follower(&nothing).config)]
}

#[test]
fn the_pool_that_was_seen_first_stays_though_the_other_comes_first_by_name() {
    let mut server = Server::default();
    let first = server.apply("lan", &["10.0.0.0/24"]).leader(&Config::default());
    let second = server.apply("a-lan", &["10.0.0.0/25"]).leader(&first.config);
    assert_eq!(names(&second.config), ["lan"]);
    // Before the word, who has just been started can only go by age and name …
    assert_eq!(restarted(&server), [["a-lan"], ["a-lan"]]);
    // … and is put right by it.
    let misled = server.follower(&Config::default()).config;
    server.tell(&second);
    assert_eq!(restarted(&server), [["lan"], ["lan"]]);
    assert_eq!(names(&server.follower(&misled).config), ["lan"]);
    // The leader believes its memory.
    assert_eq!(names(&server.leader(&misled).config), ["a-lan"]);
}

#[test]
fn an_edit_since_the_word_is_the_offender_after_a_restart_too() {
    let mut server = Server::default();
    server.apply("old", &["10.0.0.0/24"]).apply("b", &["10.1.0.0/24"]).apply("young", &["10.2.0.0/24"]);
    let good = server.leader(&Config::default());
    server.tell(&good).apply("old", &["10.0.0.0/24", "10.2.0.0/25"]);
    assert_eq!(restarted(&server), [["b", "young"], ["b", "young"]]);
    // Who remembers keeps what the edit replaced.
    assert_eq!(names(&server.follower(&good.config).config), ["b", "old", "young"]);
}

#[test]
fn what_was_refused_is_in_force_once_nothing_is_in_its_way() {
    let mut server = Server::default();
    server.apply("a", &["10.0.0.0/24"]).apply("b", &["10.0.0.0/24", "10.1.0.0/24"]);
    let outcome = server.leader(&Config::default());
    server.tell(&outcome).apply("c", &["10.1.0.0/24"]);
    // A new one comes before one that was refused, else the mending of one would break another.
    assert_eq!(restarted(&server), [["a", "c"], ["a", "c"]]);
    server.apply("a", &["10.9.0.0/24"]).pools.remove("c");
    assert_eq!(restarted(&server), [["a", "b"], ["a", "b"]]);
}

#[derive(Debug, Clone)]
enum Op {
    Apply(usize, Vec<usize>),
    Delete(usize),
    /// The leader's conditions arrive at the API server.
    Tell,
    /// The agent sees what has happened meanwhile.
    Look,
    RestartAgent,
    RestartLeader,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_usize..5, prop::collection::vec(0_usize..ENTRIES.len(), 1..3)).prop_map(|(n, e)| Op::Apply(n, e)),
        1 => (0_usize..5).prop_map(Op::Delete),
        4 => Just(Op::Tell),
        4 => Just(Op::Look),
        1 => Just(Op::RestartAgent),
        1 => Just(Op::RestartLeader),
    ]
}

const ENTRIES: [&str; 8] = [
    "10.0.0.0/24",
    "10.0.0.0/25",
    "10.0.0.128-10.0.1.9",
    "10.0.1.0/24",
    "10.0.2.0/24",
    "10.0.0.0/22",
    "10.0.2.7-10.0.2.9",
    "nonsense",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Over any history: what the leader has in force as it is written, agents and CLI have too as
    /// soon as it has said so, and nothing that contradicts it; a restart of anybody changes none of it.
    #[test]
    fn everybody_agrees_once_the_leader_has_spoken(history in prop::collection::vec(op(), 1..24)) {
        let mut server = Server::default();
        let (mut leader, mut agent) = (Outcome::default(), Config::default());
        for op in history {
            match op {
                Op::Apply(name, entries) => {
                    let entries: Vec<&str> = entries.into_iter().map(|entry| ENTRIES[entry]).collect();
                    server.apply(&format!("p{name}"), &entries);
                }
                Op::Delete(name) => drop(server.pools.remove(&format!("p{name}"))),
                Op::Tell => drop(server.tell(&leader)),
                Op::Look => agent = server.follower(&agent).config,
                Op::RestartAgent => agent = server.follower(&Config::default()).config,
                Op::RestartLeader => leader = Outcome::default(),
            }
            leader = server.leader(&leader.config);
        }
        server.tell(&leader);
        // As they are written: what is kept of a bad edit has a problem.
        let written = |outcome: &Outcome| {
            let good = |name: &str| outcome.problems.iter().all(|problem| problem.object.name != name);
            let pools = outcome.config.pools.values().filter(|pool| good(&pool.name.to_string())).cloned();
            pools.map(|pool| (pool.name.to_string(), pool)).collect::<BTreeMap<_, _>>()
        };
        let in_force = written(&leader);
        let nothing = Config::default();
        let others = [server.follower(&agent), server.follower(&nothing), server.leader(&nothing)];
        for (who, other) in others.iter().enumerate() {
            let theirs = written(other);
            for (name, pool) in &in_force {
                prop_assert_eq!(theirs.get(name), Some(pool), "{} of {}", name, who);
            }
            // Only what the leader keeps of a bad edit leaves room for what others cannot know of.
            if leader.problems.iter().all(|problem| !problem.last_good_kept) {
                prop_assert_eq!(&theirs, &in_force, "{}", who);
            }
        }
    }
}
