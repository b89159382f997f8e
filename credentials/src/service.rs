//! The credential with which a control plane calls the nodes of its cluster.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// What begins the text of a service credential.
pub const SERVICE_PREFIX: &str = "hws_";

/// Made of the cluster's secret, so who has the one has the other.
#[derive(Clone)]
pub struct ServiceCredential(String);

impl ServiceCredential {
    /// From the secret that the cluster shares.
    pub fn new(cluster_secret: &[u8]) -> ServiceCredential {
        let key = blake3::derive_key("highwater 2026-11 service credential", cluster_secret);
        ServiceCredential(format!("{SERVICE_PREFIX}{}", URL_SAFE_NO_PAD.encode(key)))
    }

    /// The text that is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text that came is this one. In constant time.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for ServiceCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceCredential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_wherever_the_secret_is() {
        let credential = ServiceCredential::new(b"secret of the cluster");
        assert!(credential.is(ServiceCredential::new(b"secret of the cluster").expose()));
        for text in ["", "hws_", ServiceCredential::new(b"another").expose()] {
            assert!(!credential.is(text));
        }
    }
}
