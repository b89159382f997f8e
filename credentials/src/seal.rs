//! Values that are kept where others may read them, and are opened only with the cluster's secret.
//!
//! AES-256-GCM-SIV (RFC 8452), with a nonce of the caller's randomness before the ciphertext: a nonce that
//! is drawn twice shows no more than that two values are equal. The name of what is sealed is part
//! of the seal, so no value can be put into another's place.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Seals and opens with the secret of the cluster.
pub struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// From the secret that the cluster shares.
    pub fn new(cluster_secret: &[u8]) -> Sealer {
        let key = blake3::derive_key("highwater 2026-11 sealed value", cluster_secret);
        let key = UnboundKey::new(&AES_256_GCM_SIV, &key).expect("a key of 32 bytes");
        Sealer {
            key: LessSafeKey::new(key),
        }
    }

    /// Seals a value under the name of what it belongs to.
    pub fn seal(&self, name: &str, value: &[u8], random: &[u8; NONCE_LEN]) -> Vec<u8> {
        let mut sealed = value.to_vec();
        let nonce = Nonce::assume_unique_for_key(*random);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut sealed)
            .expect("a value of this size can be sealed");
        [&random[..], &sealed].concat()
    }

    /// What was sealed under this name, unless it was changed or sealed elsewhere.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut value = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(name.as_bytes());
        let opened = self.key.open_in_place(nonce, aad, &mut value).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_opened_under_its_name_and_nowhere_else() {
        let sealer = Sealer::new(b"secret of the cluster");
        let sealed = sealer.seal("sig_1", b"private", &[7; 12]);
        assert_eq!(
            sealer.open("sig_1", &sealed).as_deref(),
            Some(&b"private"[..])
        );
        assert_eq!(sealer.open("sig_2", &sealed), None);
        assert_eq!(Sealer::new(b"another secret").open("sig_1", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open("sig_1", &changed), None, "{at}");
        }
        assert_eq!(sealer.open("sig_1", &sealed[..11]), None);
    }
}
