//! Two network namespaces, a node and a router, and what runs in them. Dropping
//! the lab ends everything.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clarion_agent::bgp::{self, AddressLookup, DesiredPeers, Sessions};
use clarion_bgp::session::LocalAddresses;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::watch;

/// The node's addresses.
pub(crate) const NODE_V4: &str = "10.99.0.1";
pub(crate) const NODE_V6: &str = "fd99::1";
/// The router's addresses.
pub(crate) const ROUTER_V4: &str = "10.99.0.2";
pub(crate) const ROUTER_V6: &str = "fd99::2";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A node and a router on one wire.
pub(crate) struct Lab {
    pub(crate) node: String,
    pub(crate) router: String,
    pub(crate) dir: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self {
            node: format!("clarion-bgp-n{id}"),
            router: format!("clarion-bgp-r{id}"),
            dir: TempDir::with_prefix("clarion-bgp").expect("a directory for the routers"),
        };
        let (node, router) = (lab.node.as_str(), lab.router.as_str());
        for ns in [node, router] {
            run("ip", &["netns", "add", ns]);
            run("ip", &["-n", ns, "link", "set", "lo", "up"]);
        }
        run(
            "ip",
            &["-n", node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", router],
        );
        for (ns, v4, v6) in [(node, NODE_V4, NODE_V6), (router, ROUTER_V4, ROUTER_V6)] {
            run("ip", &["-n", ns, "link", "set", "eth0", "up"]);
            run("ip", &["-n", ns, "addr", "add", &format!("{v4}/24"), "dev", "eth0"]);
            run("ip", &["-n", ns, "addr", "add", &format!("{v6}/64"), "dev", "eth0", "nodad"]);
        }
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a program in the router's namespace; its output goes to a file.
    pub(crate) fn start(&self, name: &str, program: &str, args: &[&str]) -> Process {
        let log = File::create(self.path(&format!("{name}.log"))).expect("a log file");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.router, program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {program}: {error}; is its Debian package installed?")
            });
        Process { child }
    }

    /// Runs a program in the router's namespace and gives its output.
    pub(crate) fn ask(&self, program: &str, args: &[&str]) -> String {
        let mut all = vec!["netns", "exec", self.router.as_str(), program];
        all.extend(args);
        match Command::new("ip").args(&all).output() {
            Ok(output) => format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => format!("{program}: {error}"),
        }
    }

    /// Waits until `seen` holds; otherwise shows `state` and every log.
    pub(crate) fn wait(
        &self,
        what: &str,
        within: Duration,
        state: &dyn Fn() -> String,
        seen: &dyn Fn() -> bool,
    ) -> Duration {
        let begin = Instant::now();
        while !seen() {
            if begin.elapsed() > within {
                panic!("not within {within:?}: {what}\n{}\n{}", state(), self.logs());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        begin.elapsed()
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in self.dir.path().read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "log") {
                let content = std::fs::read_to_string(&path).unwrap_or_default();
                let tail: Vec<_> = content.lines().rev().take(30).collect();
                text += &format!("--- {}\n", path.display());
                tail.iter().rev().for_each(|line| text += &format!("{line}\n"));
            }
        }
        text
    }

    /// The moments at which the router's kernel is told about `prefix`: each line of
    /// `ip monitor route` that names it.
    pub(crate) fn watch_route(&self, prefix: &str) -> (Process, mpsc::Receiver<(Instant, String)>) {
        let mut child = Command::new("ip")
            .args(["-n", &self.router, "monitor", "route"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip monitor");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, receiver) = mpsc::sync_channel(64);
        let prefix = prefix.to_owned();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| line.contains(&prefix)) {
                if sender.try_send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        (Process { child }, receiver)
    }
}

impl Lab {
    /// The node goes dark: nothing of it leaves, and its carrier stays, as behind a switch.
    pub(crate) fn go_dark(&self) {
        let rules = "table inet dark { chain out { type filter hook output priority 0; policy drop; }; }";
        run("ip", &["netns", "exec", &self.node, "nft", rules]);
    }

    /// The node is there again.
    pub(crate) fn come_back(&self) {
        run("ip", &["netns", "exec", &self.node, "nft", "delete table inet dark"]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for ns in [&self.node, &self.router] {
            let _gone = Command::new("ip").args(["netns", "del", ns]).status();
        }
    }
}

/// A process that ends with its handle.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("the process lives");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The driver on a thread inside the node's namespace.
pub(crate) struct Driver {
    pub(crate) desired: Option<watch::Sender<Arc<DesiredPeers>>>,
    pub(crate) sessions: watch::Receiver<Arc<Sessions>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    pub(crate) fn start(lab: &Lab, desired: DesiredPeers) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(desired));
        let (out, sessions) = mpsc::sync_channel(1);
        let netns = Path::new("/run/netns").join(&lab.node);
        let thread = std::thread::spawn(move || {
            let file = File::open(netns).expect("the node's namespace");
            setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (sessions, driver) = bgp::start(receiver, lookup());
                out.send(sessions).expect("the test waits");
                driver.await.expect("the driver ends by itself");
            });
        });
        Self {
            desired: Some(sender),
            sessions: sessions.recv().expect("the driver starts"),
            thread: Some(thread),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut DesiredPeers)) {
        let sender = self.desired.as_ref().expect("the driver runs");
        sender.send_modify(|all| change(Arc::make_mut(all)));
    }

    pub(crate) fn up(&self, peer: &str) -> bool {
        self.sessions.borrow().get(peer).is_some_and(clarion_agent::bgp::SessionStatus::up)
    }

    pub(crate) fn state(&self) -> String {
        format!("{:#?}", self.sessions.borrow())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.desired = None;
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

/// As the agent does it: the other family's address of the same interface.
fn lookup() -> AddressLookup {
    Arc::new(|session: IpAddr| LocalAddresses {
        v4: NODE_V4.parse().ok(),
        v6: NODE_V6.parse().ok(),
        ..LocalAddresses::of_session(session)
    })
}

pub(crate) fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
