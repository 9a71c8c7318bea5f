//! Handshakes with rustls itself at the other end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower_service::Service;

use super::{client, provider, server};
use crate::config::section::read_text;

/// An authority that vouches for certificates, with a folder to put them in.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn der(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        (certificate, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), issuer }
    }

    fn pair(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        // As who rotates does it: another file takes the name.
        let aside = self.folder.path().join("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, &path).unwrap();
        path
    }

    fn put_pair(&self, pair: &Pair) {
        self.put("cert.pem", &pair.certificate);
        self.put("key.pem", &pair.key);
    }

    /// The block of a server or client with these keys, `$` standing for the folder.
    fn yaml(&self, keys: &str) -> String {
        format!("tls: {{ {} }}", keys.replace('$', self.folder.path().to_str().unwrap()))
    }

    /// A sender that trusts this authority and shows `own`, if any.
    fn sender(&self, own: Option<&Pair>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        let Some((certificate, key)) = own.map(Pair::der) else { return builder.with_no_client_auth() };
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    }
}

const FILES: &str = "cert_file: $/cert.pem, key_file: $/key.pem";

fn server(yaml: &str) -> (Option<server::Tls>, Vec<String>) {
    let (tls, problems) = read_text("c.yaml", yaml, |mut section| {
        let tls = server::Tls::read(&mut section, true);
        section.finish();
        tls
    });
    (tls, problems.iter().map(ToString::to_string).collect())
}

fn serving(authority: &Authority, keys: &str) -> server::Tls {
    let (tls, problems) = server(&authority.yaml(keys));
    assert!(problems.is_empty(), "{problems:?}");
    tls.unwrap()
}

fn client(yaml: &str) -> (client::Tls, Vec<String>) {
    let (tls, problems) = read_text("c.yaml", yaml, |mut section| {
        let tls = client::Tls::read(&mut section);
        section.finish();
        tls
    });
    (tls, problems.iter().map(ToString::to_string).collect())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(30), test).await.unwrap() });
}

/// One connection from a sender; whether the server took it, and which certificate it showed.
async fn connect(tls: &server::Tls, sender: ClientConfig) -> (bool, Option<CertificateDer<'static>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(sender));
    let connecting = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    };
    let accepting = async { tls.accept(listener.accept().await.unwrap().0).await.is_ok() };
    let (shown, accepted) = tokio::join!(connecting, accepting);
    (accepted, shown)
}

#[test]
fn a_rotated_certificate_is_shown_from_the_next_connection_on() {
    run(async {
        let authority = Authority::new();
        let (old, new) = (authority.pair(), authority.pair());
        authority.put_pair(&old);
        let tls = serving(&authority, FILES);
        let shown = async || connect(&tls, authority.sender(None)).await;
        assert_eq!(shown().await, (true, Some(old.der().0)));
        authority.put("cert.pem", &new.certificate);
        // Its key has not come yet: the two before fit together.
        assert_eq!(shown().await, (true, Some(old.der().0)));
        authority.put("key.pem", &new.key);
        assert_eq!(shown().await, (true, Some(new.der().0)));
        std::fs::remove_file(authority.folder.path().join("cert.pem")).unwrap();
        assert_eq!(shown().await, (true, Some(new.der().0)), "a file that is gone takes nothing away");
    });
}

#[test]
fn only_senders_that_the_authority_vouches_for_come_in() {
    run(async {
        let (ours, other) = (Authority::new(), Authority::new());
        ours.put_pair(&ours.pair());
        ours.put("ca.pem", &ours.pem());
        let tls = serving(&ours, &format!("{FILES}, client_ca_file: $/ca.pem"));
        assert!(connect(&tls, ours.sender(Some(&ours.pair()))).await.0);
        assert!(!connect(&tls, ours.sender(None)).await.0, "none");
        assert!(!connect(&tls, ours.sender(Some(&other.pair()))).await.0, "somebody else's");
        // The authority is rotated as well.
        ours.put("ca.pem", &other.pem());
        assert!(!connect(&tls, ours.sender(Some(&ours.pair()))).await.0, "ours is no longer");
        assert!(connect(&tls, ours.sender(Some(&other.pair()))).await.0);
    });
}

#[test]
fn only_the_versions_asked_for_are_spoken() {
    run(async {
        let authority = Authority::new();
        authority.put_pair(&authority.pair());
        let only = |version| {
            let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
            builder.with_root_certificates(authority.roots()).with_no_client_auth()
        };
        let (v12, v13) = (&rustls::version::TLS12, &rustls::version::TLS13);
        for (keys, accepts) in
            [("", (true, true)), ("min_version: '1.3'", (false, true)), ("max_version: '1.2'", (true, false))]
        {
            let tls = serving(&authority, &format!("{FILES}, {keys}"));
            let accepted = (connect(&tls, only(v12)).await.0, connect(&tls, only(v13)).await.0);
            assert_eq!(accepted, accepts, "{keys}");
        }
    });
}

#[test]
fn plain_text_at_a_port_with_tls_is_refused() {
    run(async {
        use tokio::io::AsyncWriteExt;
        let authority = Authority::new();
        authority.put_pair(&authority.pair());
        let tls = serving(&authority, FILES);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.write_all(b"POST /v1/traces HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(tls.accept(listener.accept().await.unwrap().0).await.is_err());
    });
}

/// A server that asks for a certificate; answers which it was shown.
async fn asked(authority: &Authority, tls: &client::Tls) -> Option<CertificateDer<'static>> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider());
    let (certificate, key) = authority.pair().der();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate], key);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let mut tcp = hyper_util::client::legacy::connect::HttpConnector::new();
    tcp.enforce_http(false);
    let mut connector = client::Connector::new(tls, true, tcp).unwrap();
    let accepting = async {
        let stream = listener.accept().await.unwrap().0;
        let stream = TlsAcceptor::from(Arc::new(config.unwrap())).accept(stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?[0].clone().into_owned())
    };
    let (shown, connected) = tokio::join!(accepting, connector.call(uri));
    assert!(connected.is_ok());
    shown
}

#[test]
fn an_exporter_shows_its_certificate_and_a_rotated_one_next_time() {
    run(async {
        let authority = Authority::new();
        let (old, new) = (authority.pair(), authority.pair());
        authority.put_pair(&old);
        authority.put("ca.pem", &authority.pem());
        let (tls, problems) = client(&authority.yaml(&format!("ca_file: $/ca.pem, {FILES}")));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(asked(&authority, &tls).await, Some(old.der().0));
        authority.put_pair(&new);
        assert_eq!(asked(&authority, &tls).await, Some(new.der().0));
        let (tls, _) = client(&authority.yaml("ca_file: $/ca.pem"));
        assert_eq!(asked(&authority, &tls).await, None);
    });
}

#[test]
fn a_connector_rereads_what_has_been_rotated() {
    run(async {
        let (ours, other) = (Authority::new(), Authority::new());
        ours.put("ca.pem", &other.pem());
        let (tls, _) = client(&ours.yaml("ca_file: $/ca.pem"));
        let (certificate, key) = ours.pair().der();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: http::Uri = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let mut tcp = hyper_util::client::legacy::connect::HttpConnector::new();
        tcp.enforce_http(false);
        let mut connector = client::Connector::new(&tls, true, tcp).unwrap();
        let mut try_once = async || {
            let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() };
            let (_, connected) = tokio::join!(accepting, connector.call(uri.clone()));
            connected.is_ok()
        };
        assert!(!try_once().await, "somebody else's authority");
        ours.put("ca.pem", &ours.pem());
        assert!(try_once().await);
    });
}

#[test]
fn what_is_wrong_is_told_by_its_key() {
    let authority = Authority::new();
    let (pair, other) = (authority.pair(), authority.pair());
    authority.put_pair(&pair);
    authority.put("other.pem", &other.key);
    authority.put("empty.pem", "");
    for (keys, told) in [
        ("", "a certificate and its key are needed: `cert_file` and `key_file`"),
        ("cert_file: $/cert.pem", "the certificate's key is needed as well: `key_file`"),
        ("key_file: $/key.pem", "the key's certificate is needed as well: `cert_file`"),
        ("cert_file: $/none.pem, key_file: $/key.pem", "none.pem: No such file or directory"),
        ("cert_file: $/empty.pem, key_file: $/key.pem", "empty.pem: it holds no certificate"),
        ("cert_file: $/cert.pem, key_file: $/cert.pem", "cert.pem: it holds no private key"),
        ("cert_file: $/cert.pem, key_file: $/other.pem", "cert.pem: keys may not be consistent: KeyMismatch"),
        (
            "cert_file: $/cert.pem, cert_pem: a, key_file: $/key.pem",
            "`cert_pem`: there is `cert_file` already: say it once",
        ),
        (&format!("{FILES}, client_ca_file: $/empty.pem"), "tls.client_ca_file"),
        (&format!("{FILES}, client_ca_file: "), "`client_ca_file` says nothing"),
        (&format!("{FILES}, ca_file: $/cert.pem"), "`client_ca_file` vouches for"),
        (&format!("{FILES}, min_version: '1.1'"), "`min_version` must be `1.2` or `1.3`"),
        (&format!("{FILES}, min_version: '1.3', max_version: '1.2'"), "above `max_version`"),
        (&format!("{FILES}, cipher_suites: [A]"), "`cipher_suites` is not supported yet"),
    ] {
        let (_, problems) = server(&authority.yaml(keys));
        assert!(problems.len() == 1 && problems[0].contains(told), "{keys}: {problems:?}");
    }
    for (keys, told) in [
        ("cert_file: $/cert.pem", "the certificate's key is needed as well: `key_file`"),
        ("ca_file: $/none.pem", "tls.ca_file"),
        ("server_name_override: 'a b'", "`server_name_override`: `a b` is no host name"),
        ("insecure_skip_verify: true", "`insecure_skip_verify` is not supported"),
    ] {
        let (_, problems) = client(&authority.yaml(keys));
        assert!(problems.len() == 1 && problems[0].contains(told), "{keys}: {problems:?}");
    }
}

#[test]
fn a_key_in_the_configuration_works_and_is_never_shown() {
    let pair = Authority::new().pair();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
    let yaml = format!("tls:\n  cert_pem: |\n{}\n  key_pem: |\n{}", indented(&pair.certificate), indented(&pair.key));
    let (tls, problems) = server(&yaml);
    assert!(problems.is_empty(), "{problems:?}");
    let shown = format!("{:?}", tls.unwrap());
    let secret = pair.key.lines().nth(1).unwrap();
    assert!(shown.contains("key_pem") && !shown.contains(secret), "{shown}");
    let (_, problems) = server(&yaml.replace(&secret[..8], "!!!!!!!!"));
    assert!(problems.len() == 1 && !problems[0].contains(&secret[8..]), "{problems:?}");
}
