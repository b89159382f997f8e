//! Key sets that lie at an address (RFC 7517), fetched with care.
//!
//! An address that a tenant has given is somebody else's idea of where this process should connect to. So no
//! redirections are followed and no proxy is used, an answer has a largest size and a longest time, and what is
//! reached is on the public internet: every address that the name resolves to is looked at *when it is connected to*,
//! so a name that resolves to something else the second time gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use highwater_proto::limits::JWKS_BYTES_MAX;
use reqwest::{
    Certificate, Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use tokio::net::lookup_host;

/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Whatever the operator has configured.
    Anything,
    /// What is on the public internet.
    Public,
}

/// Fetches key sets.
pub struct Fetcher {
    client: Client,
    reach: Reach,
}

impl Fetcher {
    /// A fetcher that trusts the system's authorities, and those in a file (PEM).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(reach: Reach, authorities: Option<&Path>) -> anyhow::Result<Fetcher> {
        let mut client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT);
        if reach == Reach::Public {
            client = client.dns_resolver(Arc::new(PublicOnly));
        }
        if let Some(path) = authorities {
            let pem =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let more = Certificate::from_pem_bundle(&pem);
            let more = more.with_context(|| format!("{}: no certificates", path.display()))?;
            client = client.tls_certs_merge(more);
        }
        let client = client.build()?;
        Ok(Fetcher { client, reach })
    }

    /// What is at an address.
    ///
    /// # Errors
    /// Why nothing came, or nothing that could be a key set.
    pub async fn fetch(&self, url: &str) -> anyhow::Result<String> {
        let url: reqwest::Url = url.parse()?;
        if self.reach == Reach::Public {
            anyhow::ensure!(url.scheme() == "https", "the address is not https");
            // A number is connected to without being resolved.
            let host = url.host_str().unwrap_or_default();
            let number = host.trim_start_matches('[').trim_end_matches(']').parse();
            anyhow::ensure!(number.is_err() || number.is_ok_and(is_public), NOT_PUBLIC);
        }
        let mut response = self.client.get(url).send().await?.error_for_status()?;
        anyhow::ensure!(
            response.status().is_success(),
            "the answer is {}",
            response.status()
        );
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= JWKS_BYTES_MAX, "the key set is too large");
        }
        Ok(String::from_utf8(body)?)
    }
}

const NOT_PUBLIC: &str = "the address is not on the public internet";

/// Resolves names to public addresses, and those that have others to nothing.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            match !found.is_empty() && found.iter().all(|at| is_public(at.ip())) {
                true => Ok(Box::new(found.into_iter()) as Addrs),
                false => Err(NOT_PUBLIC.into()),
            }
        })
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries, RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19))
        // Multicast, and what is reserved.
        || a >= 224;
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Addresses that stand for one of the other kind (RFC 4291, 6052).
    if let Some(inner) = ip.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [first, second, ..] = ip.segments();
    if (first, second) == (0x64, 0xff9b) {
        let [.., a, b, c, d] = ip.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // 2000::/3 is what is given out; Teredo, documentation, benchmarks and 6to4 lie in it.
    let is_given_out = first & 0xe000 == 0x2000;
    let is_special = (first == 0x2001 && (second < 0x200 || second == 0xdb8))
        || first == 0x2002
        || first == 0x3fff;
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_not_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[tokio::test]
    async fn nothing_inside_is_connected_to_by_name_or_number() {
        let fetcher = Fetcher::new(Reach::Public, None).unwrap();
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://2130706433/",
            "https://0x7f.1/",
        ] {
            let error = fetcher.fetch(url).await.unwrap_err();
            assert!(
                format!("{error:?}").contains(NOT_PUBLIC),
                "{url}: {error:?}"
            );
        }
        let error = fetcher.fetch("http://example.com/").await.unwrap_err();
        assert!(error.to_string().contains("https"));
    }
}
