//! The way to the API server.

use std::time::Duration;

use kube::{Client, Config};

/// The API server answers a connection attempt within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither in a pod nor a kubeconfig.
    #[error("no API server: run in a pod with a ServiceAccount, or set KUBECONFIG")]
    Nowhere(#[source] kube::config::InferConfigError),
    /// The configuration is of no use.
    #[error("the API server's address or certificates cannot be used")]
    Unusable(#[source] kube::Error),
}

/// The client: in-cluster, or from KUBECONFIG. Connects when it is first used.
///
/// # Errors
/// Nothing says where the API server is, or what says it cannot be used.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::Nowhere)?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(ConnectError::Unusable)
}
