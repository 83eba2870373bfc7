//! FRR, BIRD and GoBGP, each with a directory of its own.

use super::lab::{Lab, NODE_V4, NODE_V6, Process, ROUTER_V4, run};

/// zebra and bgpd.
pub(crate) struct Frr {
    pub(crate) bgpd: Process,
    _zebra: Process,
}

impl Frr {
    /// bgpd with these lines inside `router bgp 64512`, dialled by the node.
    pub(crate) fn start(lab: &Lab, neighbors: &str) -> Self {
        let dir = lab.dir.path().display().to_string();
        std::fs::write(lab.path("zebra.conf"), "hostname router\n").expect("zebra.conf");
        let config = format!(
            "hostname router\nrouter bgp 64512\n bgp router-id {ROUTER_V4}\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n no bgp network import-check\n timers bgp 1 3\n{neighbors}\n"
        );
        std::fs::write(lab.path("bgpd.conf"), config).expect("bgpd.conf");
        // FRR's programs give up root before they make their sockets.
        run("chown", &["-R", "frr:frr", &dir]);
        let zserv = format!("{dir}/zserv.api");
        let zebra_args = [
            "-f",
            &format!("{dir}/zebra.conf"),
            "-i",
            &format!("{dir}/zebra.pid"),
            "-z",
            &zserv,
            "--vty_socket",
            &dir,
        ];
        let zebra = lab.start("zebra", "/usr/lib/frr/zebra", &zebra_args);
        let wait = || lab.path("zserv.api").exists();
        lab.wait("zebra's socket", super::SOON, &String::new, &wait);
        Self { bgpd: Self::bgpd(lab), _zebra: zebra }
    }

    pub(crate) fn bgpd(lab: &Lab) -> Process {
        let dir = lab.dir.path().display().to_string();
        let zserv = format!("{dir}/zserv.api");
        lab.start(
            "bgpd",
            "/usr/lib/frr/bgpd",
            &[
                "-f",
                &format!("{dir}/bgpd.conf"),
                "-i",
                &format!("{dir}/bgpd.pid"),
                "-z",
                &zserv,
                "--vty_socket",
                &dir,
            ],
        )
    }

    /// The daemon of BFD; bgpd asks it for the sessions of its neighbours.
    pub(crate) fn bfdd(lab: &Lab) -> Process {
        let dir = lab.dir.path().display().to_string();
        std::fs::write(lab.path("bfdd.conf"), "hostname router\n").expect("bfdd.conf");
        run("chown", &["-R", "frr:frr", &dir]);
        let file = |name: &str| format!("{dir}/{name}");
        let args = [
            ["-f", &file("bfdd.conf")],
            ["-i", &file("bfdd.pid")],
            ["-z", &file("zserv.api")],
            ["--bfdctl", &file("bfdd.sock")],
            ["--vty_socket", &dir],
        ];
        lab.start("bfdd", "/usr/lib/frr/bfdd", &args.concat())
    }

    /// Lines of configuration in the running router.
    pub(crate) fn configure(lab: &Lab, lines: &[&str]) {
        let dir = lab.dir.path().display().to_string();
        let mut args = vec!["--vty_socket", &dir, "-c", "configure terminal"];
        args.extend(lines.iter().flat_map(|line| ["-c", line]));
        let said = lab.ask("vtysh", &args);
        assert!(!said.contains('%'), "{lines:?}: {said}");
    }

    pub(crate) fn show(lab: &Lab, command: &str) -> String {
        lab.ask("vtysh", &["--vty_socket", &lab.dir.path().display().to_string(), "-c", command])
    }
}

/// A neighbour of FRR with both families.
pub(crate) fn neighbor(address: &str, remote_as: u32, more: &str) -> String {
    format!(
        " neighbor {address} remote-as {remote_as}\n neighbor {address} passive\n{more}\
          address-family ipv4 unicast\n  neighbor {address} activate\n exit-address-family\n \
          address-family ipv6 unicast\n  neighbor {address} activate\n exit-address-family\n"
    )
}

pub(crate) fn bird(lab: &Lab) -> Process {
    bird_with(lab, "", "")
}

/// BIRD with these protocols, and these lines for each BGP peer.
pub(crate) fn bird_with(lab: &Lab, protocols: &str, of_each_peer: &str) -> Process {
    let dir = lab.dir.path().display();
    let peer = |name: &str, local: &str, node: &str| {
        format!(
            "protocol bgp {name} {{ local {local} as 64512; neighbor {node} as 64513; passive; hold time 9;\n {of_each_peer}\n \
             ipv4 {{ import all; export none; extended next hop; }};\n ipv6 {{ import all; export none; }}; }}\n"
        )
    };
    let config = format!(
        "log stderr all;\nrouter id {ROUTER_V4};\nprotocol device {{}}\nprotocol kernel k4 {{ ipv4 {{ export all; }}; }}\n\
         protocol kernel k6 {{ ipv6 {{ export all; }}; }}\n{protocols}\n{}{}",
        peer("node4", ROUTER_V4, NODE_V4),
        peer("node6", super::lab::ROUTER_V6, NODE_V6),
    );
    std::fs::write(lab.path("bird.conf"), config).expect("bird.conf");
    lab.start(
        "bird",
        "/usr/sbin/bird",
        &[
            "-f",
            "-c",
            &format!("{dir}/bird.conf"),
            "-s",
            &format!("{dir}/bird.ctl"),
            "-P",
            &format!("{dir}/bird.pid"),
        ],
    )
}

pub(crate) fn birdc(lab: &Lab, command: &str) -> String {
    let mut args = vec!["-s".to_owned(), lab.path("bird.ctl").display().to_string()];
    args.extend(command.split(' ').map(str::to_owned));
    lab.ask("/usr/sbin/birdc", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn gobgp(lab: &Lab) -> Process {
    let neighbor = |address: &str| {
        let family = |name: &str| {
            format!(
                "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = \"{name}\"\n"
            )
        };
        format!(
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{address}\"\n    peer-as = 64513\n  \
             [neighbors.transport.config]\n    passive-mode = true\n{}{}",
            family("ipv4-unicast"),
            family("ipv6-unicast")
        )
    };
    let config = format!(
        "[global.config]\n  as = 64512\n  router-id = \"{ROUTER_V4}\"\n{}{}",
        neighbor(NODE_V4),
        neighbor(NODE_V6)
    );
    std::fs::write(lab.path("gobgp.toml"), config).expect("gobgp.toml");
    lab.start(
        "gobgpd",
        "gobgpd",
        &["-f", &lab.path("gobgp.toml").display().to_string(), "--api-hosts", "127.0.0.1:50051"],
    )
}
