//! Keeps packages from starting daemons in the host.
//!
//! Debian starts a daemon when its package is installed and again at every boot.
//! The lab runs routers of its own in its own namespaces; one in the host would
//! be an uninvited speaker. While packages are installed, a policy (Debian's
//! `policy-rc.d`) forbids starting; afterwards the services that came along are
//! switched off. A policy that the machine has already stays untouched.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;
use crate::ui::Ui;

/// Where invoke-rc.d looks for a policy.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Exit status 101: "action forbidden by policy" (Debian policy §9.3.3.1).
const FORBID: &str =
    "#!/bin/sh\n# Set by `cargo xtask setup` while it installs packages; removed afterwards.\nexit 101\n";

/// Services that the lab's packages bring.
const SERVICES: [(&str, &[&str]); 3] = [("frr", &["frr"]), ("bird2", &["bird"]), ("gobgpd", &["gobgpd"])];

/// Forbids starting daemons until it is dropped.
#[derive(Debug)]
pub(super) struct Quiet {
    ours: bool,
}

impl Quiet {
    /// Sets the policy, unless there is one.
    ///
    /// # Errors
    /// When the policy cannot be written.
    pub(super) fn set(ui: &Ui) -> Result<Self> {
        let policy = Path::new(POLICY);
        let file = fs::File::options().write(true).create_new(true).mode(0o755).open(policy);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok(Self { ours: false });
            }
            Err(error) => return Err(error).with_context(|| format!("{POLICY} cannot be written")),
        };
        let quiet = Self { ours: true };
        file.write_all(FORBID.as_bytes()).with_context(|| format!("{POLICY} cannot be written"))?;
        // Not subject to the umask.
        file.set_permissions(fs::Permissions::from_mode(0o755)).with_context(|| format!("chmod {POLICY}"))?;
        ui.say(&format!("  {POLICY} forbids starting daemons while packages are installed"));
        Ok(quiet)
    }

    /// Lifts the policy and switches off the services of `packages`.
    pub(super) fn end(self, ui: &Ui, packages: &[&str]) {
        drop(self);
        if !Path::new("/run/systemd/system").is_dir() {
            return; // nothing that would start them later
        }
        for (package, services) in SERVICES {
            if !packages.contains(&package) {
                continue;
            }
            for service in services {
                let off =
                    run::output_of(Command::new("systemctl").args(["disable", "--now", service])).is_some();
                ui.say(&if off {
                    format!("  service {service} came with {package} and is switched off (systemctl disable --now)")
                } else {
                    format!("  service {service} could not be switched off: sudo systemctl disable --now {service}")
                });
            }
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("xtask: {POLICY} could not be removed, remove it by hand: {error}");
        }
    }
}
