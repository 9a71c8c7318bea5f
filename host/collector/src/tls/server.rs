//! TLS of receivers: `tls` of a server.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem::{Identity, Pem};
use super::{HTTP_1, HTTP_2, Versions, provider, refuse_the_rest};
use crate::config::section::Section;
use crate::reread::Reread;

/// The settings of a port that speaks TLS, with what they load. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    settings: Settings,
    current: Arc<Reread<ServerConfig>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    identity: Identity,
    /// Whose certificates senders have to show, if any.
    client_ca: Option<Pem>,
    versions: Versions,
    /// Whether HTTP/1.1 is spoken as well.
    http_1: bool,
}

/// Equal when the settings are; a rotated certificate is no other setting.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Tls {
    /// Reads the block `tls` of a server and loads what it names; `None` if there is no such block,
    /// or something is wrong with it.
    pub fn read(server: &mut Section<'_>, http_1: bool) -> Option<Self> {
        let mut section = server.section("tls")?;
        let identity = Identity::read(&mut section, true);
        section.must_say("client_ca_file");
        let client_ca = Pem::read_file(&mut section, "client_ca_file");
        let versions = Versions::read(&mut section);
        // Files are looked at before every handshake, whatever these say.
        section.duration_or("reload_interval", std::time::Duration::ZERO);
        section.bool_or("client_ca_file_reload", true);
        for key in ["ca_file", "ca_pem"] {
            section.unsupported(key, "a server trusts senders that `client_ca_file` vouches for");
        }
        refuse_the_rest(&mut section);
        section.finish();
        let settings = Settings { identity: identity?, client_ca, versions, http_1 };
        let files = settings.identity.parts().into_iter().chain(&settings.client_ca).filter_map(Pem::file).collect();
        let loaded = settings.clone();
        match Reread::new(files, move || loaded.load()) {
            Ok(current) => Some(Self { settings, current: Arc::new(current) }),
            Err(reason) => {
                server.error("tls", reason);
                None
            }
        }
    }

    /// Takes a connection's handshake to its end.
    ///
    /// # Errors
    /// When the sender gives up, speaks no TLS, or shows no certificate that is asked for.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.get()).accept(stream).await
    }
}

impl Settings {
    fn load(&self) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&self.versions.list());
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let roots = Arc::new(ca.authorities()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            }
        };
        let (chain, key) = self.identity.load()?;
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| format!("{}: {error}", self.identity.name()))?;
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        if self.http_1 {
            config.alpn_protocols.push(HTTP_1.to_vec());
        }
        Ok(config)
    }
}
