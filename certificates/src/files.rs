//! Certificates and keys from PEM files, as the settings of TLS.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Where the certificates of one door are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authorities of the other side's certificates. With them, it must bring one.
    pub ca: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or is not PEM.
    #[error("cannot read {path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate that cannot be used.
    #[error("{path}: {message}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

impl TlsFiles {
    /// The accepting side. `protocols` are offered by ALPN (RFC 7301).
    ///
    /// # Errors
    /// [`TlsError`] when a file is missing or wrong.
    pub fn server(&self, protocols: &[&str]) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder();
        let builder = match &self.ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder(Arc::new(authorities(ca)?));
                builder.with_client_cert_verifier(verifier.build().map_err(|e| wrong(ca, e))?)
            }
        };
        let (chain, key) = self.identity()?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| wrong(&self.cert, e))?;
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(config)
    }

    /// The connecting side, which shows the same certificate.
    ///
    /// # Errors
    /// [`TlsError`] when a file is missing or wrong.
    pub fn client(&self) -> Result<ClientConfig, TlsError> {
        let roots = match &self.ca {
            Some(ca) => authorities(ca)?,
            None => RootCertStore::empty(),
        };
        let (chain, key) = self.identity()?;
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(&self.cert, e))
    }

    fn identity(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| pem(&self.key, e))?;
        Ok((chain, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| pem(path, e))?;
    read.collect::<Result<_, _>>().map_err(|e| pem(path, e))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| wrong(path, e))?;
    }
    match roots.is_empty() {
        true => Err(wrong(path, "no certificate in it")),
        false => Ok(roots),
    }
}

fn pem(path: &Path, source: rustls_pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        source,
    }
}

fn wrong(path: &Path, message: impl std::fmt::Display) -> TlsError {
    TlsError::Certificate {
        path: path.to_owned(),
        message: message.to_string(),
    }
}
