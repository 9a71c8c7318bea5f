//! TLS of exporters: `tls` of a client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::{
    ConfigBuilderExt, DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::connect::Connection;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tower_service::Service;

use super::pem::{Identity, Pem};
use super::{HTTP_1, HTTP_2, Versions, provider, refuse_the_rest};
use crate::config::section::Section;
use crate::reread::Reread;

/// `tls` of an exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Speak plain text. A scheme in the endpoint outweighs it.
    pub insecure: bool,
    /// Whom to trust instead of the public authorities.
    ca: Option<Pem>,
    /// What to show an upstream that asks who we are.
    identity: Option<Identity>,
    /// The name that the certificate has to be for, instead of the endpoint's host.
    server_name: Option<ServerName<'static>>,
    versions: Versions,
}

impl Default for Tls {
    fn default() -> Self {
        Self { insecure: false, ca: None, identity: None, server_name: None, versions: Versions::ALL }
    }
}

impl Tls {
    /// Reads the block `tls` of an exporter.
    pub fn read(exporter: &mut Section<'_>) -> Self {
        let Some(mut section) = exporter.section("tls") else { return Self::default() };
        let server_name = section.str("server_name_override").and_then(|name| {
            let parsed = ServerName::try_from(name.clone());
            if parsed.is_err() {
                section.error("server_name_override", format!("`server_name_override`: `{name}` is no host name"));
            }
            parsed.ok()
        });
        let tls = Self {
            insecure: section.bool_or("insecure", false),
            ca: Pem::read(&mut section, "ca"),
            identity: Identity::read(&mut section, false),
            server_name,
            versions: Versions::read(&mut section),
        };
        section.unsupported(
            "insecure_skip_verify",
            "a connection that anybody can listen to is plain text: say `insecure: true`, or name the `ca_file`",
        );
        // Files are looked at before every handshake, whatever this says.
        section.duration_or("reload_interval", std::time::Duration::ZERO);
        refuse_the_rest(&mut section);
        section.finish();
        if let Err(reason) = tls.load() {
            exporter.error("tls", reason);
        }
        tls
    }

    fn load(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&self.versions.list());
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.ca {
            None => builder.with_webpki_roots(),
            Some(ca) => builder.with_root_certificates(ca.authorities()?),
        };
        let Some(identity) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let (chain, key) = identity.load()?;
        builder.with_client_auth_cert(chain, key).map_err(|error| format!("{}: {error}", identity.name()))
    }
}

/// Connects over TLS where the scheme says so, with the certificates as they are then.
#[derive(Clone)]
pub struct Connector<T> {
    tcp: T,
    config: Arc<Reread<ClientConfig>>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
}

impl<T> Connector<T> {
    /// Connects through `tcp`.
    ///
    /// # Errors
    /// When a file that `tls` names is not what it should be.
    pub fn new(tls: &Tls, http_2_only: bool, tcp: T) -> Result<Self, String> {
        let parts = tls.identity.iter().flat_map(Identity::parts);
        let files = tls.ca.iter().chain(parts).filter_map(Pem::file).collect();
        let settings = tls.clone();
        let config = Reread::new(files, move || {
            let mut config = settings.load()?;
            config.alpn_protocols = vec![HTTP_2.to_vec()];
            if !http_2_only {
                config.alpn_protocols.push(HTTP_1.to_vec());
            }
            Ok(config)
        })?;
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &tls.server_name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name.clone())),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        Ok(Self { tcp, config: Arc::new(config), names })
    }
}

impl<T> fmt::Debug for Connector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl<T> Service<Uri> for Connector<T>
where
    T: Service<Uri> + Clone,
    T::Response: Connection + Read + Write + Send + Unpin + 'static,
    T::Future: Send + 'static,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = MaybeHttpsStream<T::Response>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // What was found ready connects; its clone stays.
        let clone = self.tcp.clone();
        let tcp = std::mem::replace(&mut self.tcp, clone);
        HttpsConnector::new(tcp, self.config.get(), false, Arc::clone(&self.names)).call(uri)
    }
}
