//! Plain HTTP: /metrics for everybody, probes for the kubelet.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All addresses of both families.
    Everybody,
    /// The machine itself: 127.0.0.1.
    Loopback,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Mostly: the port is taken.
    #[error("cannot listen on port {port}: choose another by {flag}")]
    Listen {
        /// The port.
        port: u16,
        /// The flag that chooses it.
        flag: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A listener works until the process ends.
    #[error("the HTTP server of {flag} ended")]
    Ended {
        /// The flag that chose its port.
        flag: &'static str,
        /// Why, if it said so.
        #[source]
        source: Option<io::Error>,
    },
}

/// Opens the port that `flag` chose; none for port 0.
///
/// # Errors
/// The port cannot be had.
pub async fn listen(reach: Reach, port: u16, flag: &'static str) -> Result<Option<TcpListener>, HttpError> {
    if port == 0 {
        return Ok(None);
    }
    let both = match reach {
        Reach::Everybody => TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await.ok(),
        Reach::Loopback => None,
    };
    if both.is_some() {
        return Ok(both);
    }
    // Without IPv6 on the machine, IPv4 alone.
    let v4 = if reach == Reach::Loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = TcpListener::bind((v4, port)).await;
    listener.map(Some).map_err(|source| HttpError::Listen { port, flag, source })
}

/// Serves until it fails; without a listener, for ever.
pub async fn serve(listener: Option<TcpListener>, flag: &'static str, router: Router) -> HttpError {
    match listener {
        None => std::future::pending().await,
        Some(listener) => HttpError::Ended { flag, source: axum::serve(listener, router).await.err() },
    }
}

/// The answer to /readyz: what is still missing, a line each; nothing: ready.
#[must_use]
pub fn readiness(missing: &[String]) -> (StatusCode, String) {
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.iter().map(|what| format!("{what}\n")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_with_the_flag_that_chooses_another() {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = listen(Reach::Loopback, port, "--port").await.unwrap_err();
        assert!(error.to_string().contains("--port"), "{error}");
        assert!(listen(Reach::Everybody, 0, "--port").await.unwrap().is_none());
    }

    #[test]
    fn who_is_not_ready_says_why() {
        assert_eq!(readiness(&[]).0, StatusCode::OK);
        let (status, text) = readiness(&["a".to_owned(), "b".to_owned()]);
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "a\nb\n"));
    }
}
