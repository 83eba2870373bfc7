//! A broken set-up for each cause.

use clarion_config::EXCLUDE_LABEL;
use clarion_core::ServiceKey;
use serde_json::{Value, json};

use super::*;
use crate::cluster::tests::World;

fn causes_of(world: &World) -> Vec<Cause> {
    let cluster = world.cluster();
    let service = cluster.services().find(|s| s.key == ServiceKey::new("shop", "web")).unwrap();
    let pool = cluster.pool_of(service.addresses[0]).unwrap();
    causes(&cluster, &service, pool)
}

fn l2(spec: Value) -> World {
    World { l2: vec![spec], ..World::default() }
}

/// A BGPAdvertisement and a BGPPeer.
fn bgp(advertisement: Value, peer: &Value) -> World {
    let mut all = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
    for (key, value) in peer.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    World { bgp: vec![advertisement], peers: vec![all], ..World::default() }
}

fn rack(number: &str) -> Value {
    json!([{"matchLabels": {"rack": number}}])
}

#[test]
fn each_broken_set_up_has_its_cause_and_remedy() {
    let excluded = json!({"metadata": {"labels": {EXCLUDE_LABEL: ""}}});
    let unavailable = json!({"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]}});
    let shared = json!({"metallb.io/allow-shared-ip": "key"});
    let web = json!({"serviceSelectors": [{"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}]});
    // (set-up, protocol, why, words of what is so and of what to do)
    let table: Vec<(World, Option<&str>, Why, &[&str])> = vec![
        (World::default(), None, Why::NoAdvertisement, &["no L2Advertisement", "ipAddressPools [front]"]),
        (
            l2(json!({"ipAddressPools": ["fornt"]})),
            None,
            Why::UnknownPool,
            &["l20", "exist: fornt", "there are: front"],
        ),
        (
            l2(json!({"serviceSelectors": [{"matchLabels": {"a": "b"}}]})),
            None,
            Why::NotSelected,
            &["no advertisement selects pool front"],
        ),
        (
            World { annotations: shared, ..l2(web) },
            Some("layer2"),
            Why::SharedWithServiceSelector,
            &["serviceSelectors", "allow-shared-ip"],
        ),
        (
            l2(json!({"nodeSelectors": rack("7")})),
            Some("layer2"),
            Why::NodeSelectors,
            &["nodeSelectors of L2Advertisement l20 leave out n1, n2"],
        ),
        (
            World { agents_s: 600, ..l2(json!({})) },
            Some("layer2"),
            Why::NodeWithoutAgent,
            &["no living agent on n1, n2", "kubectl get pods -n metallb-system"],
        ),
        (
            World { nodes: unavailable, ..l2(json!({})) },
            Some("layer2"),
            Why::NetworkUnavailable,
            &["NetworkUnavailable", "kubectl describe node n1"],
        ),
        (
            World { nodes: excluded, ..l2(json!({})) },
            Some("layer2"),
            Why::Excluded,
            &[EXCLUDE_LABEL, "kubectl label node n1 ", "--ignore-exclude-lb"],
        ),
        (
            World {
                policy: "Local",
                ..l2(
                    json!({"nodeSelectors": [{"matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]}]}),
                )
            },
            Some("layer2"),
            Why::NoLocalEndpoints,
            &["externalTrafficPolicy is Local", "on n2", "-n shop -l kubernetes.io/service-name=web"],
        ),
        (
            l2(json!({"interfaces": ["eth9"]})),
            Some("layer2"),
            Why::NoInterface,
            &["spec.interfaces [eth9] of L2Advertisement l20", "n1 has eth0"],
        ),
        (
            World { controller_s: 60, ..l2(json!({})) },
            Some("layer2"),
            Why::NoController,
            &["no controller lives", "component=controller"],
        ),
        (
            l2(json!({})),
            Some("layer2"),
            Why::Unsaid,
            &["n1, n2 may announce it", "kubectl logs -n metallb-system"],
        ),
        (World { bgp: vec![json!({})], ..World::default() }, Some("bgp"), Why::NoPeer, &["no BGPPeer"]),
        (
            bgp(json!({"peers": ["rotuer"]}), &json!({})),
            Some("bgp"),
            Why::UnknownPeer,
            &["do not exist: rotuer", "there are: pe0"],
        ),
        (
            bgp(json!({}), &json!({"nodeSelectors": rack("7")})),
            Some("bgp"),
            Why::PeerElsewhere,
            &["nodeSelectors of BGPPeer pe0 leave out", "n1, n2"],
        ),
        (
            bgp(json!({"nodeSelectors": rack("7")}), &json!({})),
            Some("bgp"),
            Why::NodeSelectors,
            &["nodeSelectors of BGPAdvertisement bg0 leave out n1, n2"],
        ),
    ];
    for (world, protocol, why, words) in table {
        let causes = causes_of(&world);
        let first = causes.first().unwrap_or_else(|| panic!("{why:?}: nothing is said of {world:?}"));
        assert_eq!((first.protocol, first.why), (protocol, why), "{causes:#?}");
        let said = format!("{}: {}", first.what, first.remedy);
        for word in words {
            assert!(said.contains(word), "{why:?}: {word:?} is not in {said:?}");
        }
    }
}

#[test]
fn what_is_announced_has_no_cause() {
    assert_eq!(causes_of(&World { owner: Some("n1"), ..l2(json!({})) }), []);
    assert_eq!(causes_of(&World { speaker: Some("n1"), ..bgp(json!({}), &json!({})) }), []);
    // By the one and not by the other.
    let half = World { l2: vec![json!({})], speaker: Some("n1"), ..bgp(json!({}), &json!({})) };
    assert_eq!(causes_of(&half).iter().map(|c| c.protocol).collect::<Vec<_>>(), [Some("layer2")]);
}

#[test]
fn of_several_nodes_what_the_fewest_steps_are_missing_to_comes_first() {
    // n2 is left out, n1 has no endpoint... of a policy that wants one there.
    let world = World { policy: "Local", ..l2(json!({"nodeSelectors": rack("1")})) };
    assert_eq!(causes_of(&world)[0].why, Why::Unsaid, "n1 has an endpoint");
    let world = World {
        nodes: json!({"metadata": {"labels": {EXCLUDE_LABEL: ""}}}),
        ..l2(json!({"nodeSelectors": rack("1")}))
    };
    assert_eq!(
        causes_of(&world).iter().map(|c| c.why).collect::<Vec<_>>(),
        [Why::Excluded, Why::NodeSelectors]
    );
}

#[test]
fn lists_are_bounded() {
    assert_eq!(list(["a", "b"]), "a, b");
    assert_eq!(list(0..2000), "0, 1, 2, 3, 4, 5, 6, 7 and 1992 more");
}
