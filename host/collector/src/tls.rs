//! TLS at both ends: the Collector's block `tls`, and certificates that may be rotated.
//!
//! Files are looked at before every handshake and read again when they have changed, so a new
//! certificate is in use from the next connection on. Files that do not fit together leave the
//! ones before in use: whoever rotates a certificate and its key replaces one after the other.

pub mod client;
mod pem;
pub mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

use crate::config::section::{NOT_YET, Section};

/// HTTP's names in the handshake.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    tls12: bool,
    tls13: bool,
}

impl Versions {
    const ALL: Self = Self { tls12: true, tls13: true };

    /// `min_version` and `max_version`, with the Collector's defaults: from 1.2 on.
    fn read(section: &mut Section<'_>) -> Self {
        const KNOWN: [&str; 2] = ["1.2", "1.3"];
        let from = section.one_of("min_version", &KNOWN, "1.2");
        let to = section.one_of("max_version", &KNOWN, "1.3");
        if from > to {
            section.error("min_version", "`min_version` is above `max_version`");
            return Self::ALL;
        }
        Self { tls12: from == "1.2", tls13: to == "1.3" }
    }

    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(self.tls13, &TLS13), (self.tls12, &TLS12)];
        all.into_iter().filter(|(spoken, _)| *spoken).map(|(_, version)| version).collect()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What both ends of the Collector have and we have not.
fn refuse_the_rest(section: &mut Section<'_>) {
    for key in ["include_system_ca_certs_pool", "cipher_suites", "curve_preferences", "tpm"] {
        section.unsupported(key, NOT_YET);
    }
}
