//! Flags of MetalLB's speaker that have no meaning here (contract §3.3): there is no
//! memberlist, FRR is not driven, and metrics are plain HTTP. They are accepted, so
//! that a DaemonSet written for the speaker starts the agent too, and named in the log.

/// What was given of them. The values are not looked at.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Accepted for MetalLB's manifests, without effect")]
pub(super) struct Ignored {
    #[arg(long, hide = true)]
    host: Option<String>,
    #[arg(long, hide = true)]
    ml_bindaddr: Option<String>,
    #[arg(long, hide = true)]
    ml_labels: Option<String>,
    #[arg(long, hide = true)]
    ml_secret_key: Option<String>,
    #[arg(long, hide = true)]
    ml_secret_key_path: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ml_wan_config: Option<String>,
    #[arg(long, hide = true)]
    config: Option<String>,
    #[arg(long, hide = true)]
    kubeconfig: Option<String>,
    #[arg(long, hide = true)]
    frrk8s_namespace: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    frrk8s_secret_passthrough: Option<String>,
    #[arg(long, hide = true)]
    bgp_debounce_timeout: Option<String>,
    #[arg(long, hide = true)]
    pprof_bind_address: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_pprof: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_epslices: Option<String>,
    #[arg(long, hide = true)]
    tls_min_version: Option<String>,
    #[arg(long, hide = true)]
    tls_cipher_suites: Option<String>,
    #[arg(long, hide = true)]
    tls_curve_preferences: Option<String>,
    #[arg(long, hide = true)]
    metrics_cert_dir: Option<String>,
}

impl Ignored {
    /// The names of those that were given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        [
            ("--host", &self.host),
            ("--ml-bindaddr", &self.ml_bindaddr),
            ("--ml-labels", &self.ml_labels),
            ("--ml-secret-key", &self.ml_secret_key),
            ("--ml-secret-key-path", &self.ml_secret_key_path),
            ("--ml-wan-config", &self.ml_wan_config),
            ("--config", &self.config),
            ("--kubeconfig", &self.kubeconfig),
            ("--frrk8s-namespace", &self.frrk8s_namespace),
            ("--frrk8s-secret-passthrough", &self.frrk8s_secret_passthrough),
            ("--bgp-debounce-timeout", &self.bgp_debounce_timeout),
            ("--pprof-bind-address", &self.pprof_bind_address),
            ("--enable-pprof", &self.enable_pprof),
            ("--disable-epslices", &self.disable_epslices),
            ("--tls-min-version", &self.tls_min_version),
            ("--tls-cipher-suites", &self.tls_cipher_suites),
            ("--tls-curve-preferences", &self.tls_curve_preferences),
            ("--metrics-cert-dir", &self.metrics_cert_dir),
        ]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|_| flag))
        .collect()
    }
}
