//! Certificates for tests: an authority that exists for one cluster, and what it issues.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Panics
    /// When the library cannot make one.
    pub fn generate() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its own certificate, for those who are to trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for this host and writes `<name>.pem` and `<name>.key`.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn issue(&self, folder: &Path, name: &str) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let write = |ending: &str, text: String| {
            fs::write(folder.join(format!("{name}.{ending}")), text).expect("it is written");
        };
        write("pem", certificate.pem());
        write("key", key.serialize_pem());
    }
}
