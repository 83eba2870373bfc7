//! What a person needs to look into a running lab.

use crate::lab::Lab;
use crate::tools::{clarion_program, lab_program};
use anyhow::Result;
use std::os::unix::fs::{PermissionsExt, symlink};

/// What `kubectl clarion` runs.
const PLUGIN: &str = "kubectl-clarion";

impl Lab {
    /// Writes the wrapper `kubectl`, its plugin and the file `env` into the lab's directory.
    pub(crate) fn write_shell(&self) -> Result<()> {
        let Some(control_plane) = &self.control_plane else { return Ok(()) };
        let bin = self.dir().join("bin");
        std::fs::create_dir_all(&bin)?;
        let wrapper = format!(
            "#!/bin/sh\n# kubectl in the lab: the API server lives in a namespace of its own.\n\
             KUBECONFIG={} exec nsenter --net={} -- {} \"$@\"\n",
            control_plane.admin_kubeconfig().display(),
            control_plane.machine().netns().path().display(),
            lab_program("kubectl")?.display()
        );
        let path = bin.join("kubectl");
        std::fs::write(&path, wrapper)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        // kubectl looks for its plugins on PATH. A lab without Clarion has none.
        if let Ok(plugin) = clarion_program(PLUGIN) {
            symlink(plugin, bin.join(PLUGIN))?;
        }
        let env = format!(
            "export PATH={}:$PATH\nexport KUBECONFIG={}\n",
            bin.display(),
            control_plane.admin_kubeconfig().display()
        );
        std::fs::write(self.dir().join("env"), env)?;
        Ok(())
    }

    /// The commands with which a person looks around, one a line.
    pub fn directions(&self) -> String {
        let mut lines = Vec::new();
        if let Some(control_plane) = &self.control_plane {
            lines.push(format!("export KUBECONFIG={}", control_plane.admin_kubeconfig().display()));
            lines.push(format!(
                ". {}/env                # kubectl in this shell is the lab's",
                self.dir().display()
            ));
            lines.push("kubectl get services -A".to_owned());
            if self.dir().join("bin").join(PLUGIN).exists() {
                lines.push("kubectl clarion status".to_owned());
            }
        }
        for (machine, what) in self.machines() {
            lines.push(format!("ip netns exec {machine:<14} bash   # {what}"));
        }
        for router in &self.routers {
            if let Some(init) = router.machine().init() {
                lines.push(format!(
                    "nsenter -t {} -n -m -u -p vtysh   # router {}",
                    init.pid,
                    router.machine().name()
                ));
            }
        }
        lines.push(format!("less {}/*/*.log   # programs of the lab", self.dir().display()));
        if self.control_plane.is_some() {
            let dir = self.dir().display();
            lines.push(format!("less {dir}/n*/kubelet/pods/*/*.log   # pods: agents, controllers, servers"));
        }
        lines.join("\n")
    }

    fn machines(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for node in self.nodes() {
            let station = node.station();
            all.push((
                node.machine().netns().name().to_owned(),
                format!("node {} {}", station.v4, station.v6),
            ));
        }
        for (i, client) in self.clients.iter().enumerate() {
            let station = crate::addressing::client(i + 1);
            all.push((client.name().to_owned(), format!("client on the LAN {} {}", station.v4, station.v6)));
        }
        for (i, router) in self.routers.iter().enumerate() {
            let station = crate::addressing::far(i + 1, 2);
            let what = format!("client behind the router {} {}", station.v4, station.v6);
            all.push((router.far_client().name().to_owned(), what));
        }
        all.push((self.switch.netns().name().to_owned(), "the LAN's switch".to_owned()));
        all
    }
}
