//! Keys, certificates and kubeconfigs of one lab's cluster.
//!
//! Made by `openssl`, some hundred milliseconds per lab; nothing is shared
//! between labs. Elliptic keys throughout: RSA keys would take longer than the
//! rest of the network.

use crate::addressing::{API_PORT, CONTROL_PLANE};
use crate::netns::run;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const DAYS: &str = "3650";

/// The directory with the cluster's keys.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes the authority, the API server's certificate and the key that signs
    /// ServiceAccount tokens.
    ///
    /// # Errors
    /// When `openssl` is missing or fails.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let pki = Self { dir: dir.to_owned() };
        pki.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key"])?;
        pki.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            "ca.key",
            "-subj",
            "/CN=lab-ca",
            "-days",
            DAYS,
            "-out",
            "ca.crt",
        ])?;
        pki.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key"])?;
        pki.openssl(&["ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"])?;
        let names = format!(
            "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
             DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,\
             IP:127.0.0.1,IP:::1,IP:{CONTROL_PLANE},IP:10.96.0.1,IP:fd00:96::1"
        );
        pki.certificate("apiserver", "/CN=kube-apiserver", &names)?;
        Ok(pki)
    }

    /// The path of a file in the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Makes a client's certificate and kubeconfig. `subject` is openssl's form:
    /// `/O=GROUP/CN=USER`.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn client(&self, name: &str, subject: &str) -> Result<PathBuf> {
        self.certificate(name, subject, "extendedKeyUsage=clientAuth")?;
        let file = self.path(&format!("{name}.kubeconfig"));
        // JSON is YAML; kubeconfigs may be either.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{CONTROL_PLANE}:{API_PORT}"),
                "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": name, "user": {
                "client-certificate": self.path(&format!("{name}.crt")),
                "client-key": self.path(&format!("{name}.key")),
            }}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        });
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        Ok(file)
    }

    fn certificate(&self, name: &str, subject: &str, extensions: &str) -> Result<()> {
        let (key, csr, crt, ext) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"), format!("{name}.ext"));
        std::fs::write(self.path(&ext), extensions)?;
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            &key,
            "-subj",
            subject,
            "-out",
            &csr,
        ])?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            &ext,
            "-out",
            &crt,
        ])
    }

    fn openssl(&self, args: &[&str]) -> Result<()> {
        run(Command::new("openssl").args(args).current_dir(&self.dir)).map(drop).context("certificates")
    }
}
