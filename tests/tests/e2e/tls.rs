//! TLS on both sides of the collector: real SDKs and another collector at the other end.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::shop::Shop;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::shop::sdk::Sdk;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// An authority that vouches for certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate for `localhost` and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pair(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

fn put_pair(folder: &Folder, pair: &Pair) {
    folder.write("cert.pem", &pair.certificate);
    folder.write("key.pem", &pair.key);
}

/// A collector whose senders have to show a certificate of the authority.
fn guarded(authority: &Authority, upstream: &Sink) -> Sluice {
    let tls = "tls: { cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem }";
    let port = format!("endpoint: '127.0.0.1:0', {tls}");
    let config =
        Config::to(upstream).receiver("otlp", &format!("protocols: {{ grpc: {{ {port} }}, http: {{ {port} }} }}"));
    let folder = Folder::new(&config.yaml());
    folder.write("ca.pem", authority.issuer.pem());
    put_pair(&folder, &authority.pair());
    Sluice::start_in(folder)
}

/// The SDK's exporter over gRPC, which trusts the authority and shows this certificate.
fn sdk_grpc(authority: &Authority, own: &Pair, port: u16) -> SpanExporter {
    let _on = wait::runtime().enter();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.issuer.pem()))
        .identity(Identity::from_pem(&own.certificate, &own.key));
    let endpoint = format!("https://localhost:{port}");
    SpanExporter::builder().with_tonic().with_tls_config(tls).with_endpoint(endpoint).build().unwrap()
}

/// A client for the SDK's exporter over HTTP, which has none for rustls on `ring`.
struct Https(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

#[async_trait::async_trait]
impl HttpClient for Https {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.0.clone();
        // The SDK calls from a thread without a runtime.
        let answer = wait::runtime().spawn(async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            Ok::<_, HttpError>(http::Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        answer.await?
    }
}

fn sdk_http(authority: &Authority, own: &Pair, port: u16) -> SpanExporter {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    let client = Https(Client::builder(TokioExecutor::new()).build(connector));
    let endpoint = format!("https://localhost:{port}/v1/traces");
    let builder = SpanExporter::builder().with_http().with_http_client(client);
    builder.with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build().unwrap()
}

/// Makes some spans; how many, and whether the collector took them.
fn tell(exporter: SpanExporter, seed: u64) -> (u64, bool) {
    let sdk = Sdk::exporting(exporter);
    let mut shop = Shop::new(seed);
    let made: usize = (0..50).map(|_| sdk.tell(&shop.deed()).len()).sum();
    let taken = sdk.flush().is_ok();
    let _ = sdk.shutdown();
    (made as u64, taken)
}

#[test]
fn rusts_sdk_over_mutual_tls_before_and_after_a_rotation() {
    let upstream = Sink::start();
    let (authority, next, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let sluice = guarded(&authority, &upstream);
    let ports = [sluice.grpc().port(), sluice.http().port()];
    let send = |trusted: &Authority, own: &Pair, seed| {
        let exporters = [sdk_grpc(trusted, own, ports[0]), sdk_http(trusted, own, ports[1])];
        exporters.map(|exporter| tell(exporter, seed))
    };
    let mut expected = 0;
    let taken = send(&authority, &authority.pair(), 1);
    assert!(taken.iter().all(|(made, taken)| *made > 0 && *taken), "{taken:?}");
    expected += taken.iter().map(|(made, _)| made).sum::<u64>();
    // A certificate that somebody else vouches for is refused, and so is none that fits.
    let refused = send(&authority, &stranger.pair(), 2);
    assert!(refused.iter().all(|(made, taken)| *made > 0 && !taken), "{refused:?}");
    // The sender may know before the receiver has told.
    wait::until("the refusal to be told", || sluice.log().find("sender.refused"));
    // Everything is rotated, the authority of the senders too: nothing is restarted.
    sluice.folder().write("ca.pem", next.issuer.pem());
    put_pair(sluice.folder(), &next.pair());
    let taken = send(&next, &next.pair(), 3);
    assert!(taken.iter().all(|(_, taken)| *taken), "{taken:?}");
    expected += taken.iter().map(|(made, _)| made).sum::<u64>();
    let late = send(&next, &authority.pair(), 4);
    assert!(late.iter().all(|(_, taken)| !taken), "{late:?}");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "received"), expected as i64);
    assert_eq!(upstream.spans(), expected);
}

#[test]
fn an_exporter_with_a_wrong_certificate_keeps_its_spans_until_it_has_the_right_one() {
    for (kind, protocol) in [("otlp_grpc", "grpc"), ("otlp_http", "http")] {
        let upstream = Sink::start();
        let (authority, stranger) = (Authority::new(), Authority::new());
        let hub = guarded(&authority, &upstream);
        let tls = "tls: { ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem }";
        let exporter = format!(
            "endpoint: 'https://localhost:{}'\n{tls}\nretry_on_failure: {{ initial_interval: 20ms, max_interval: 100ms }}",
            hub.address("otlp", protocol).port()
        );
        let folder = Folder::new(&Config::new().exporter(kind, &exporter).yaml());
        folder.write("ca.pem", authority.issuer.pem());
        put_pair(&folder, &stranger.pair());
        let edge = Sluice::start_in(folder);
        let requests = Exporter::new(7).requests(20, 40);
        let sent: u64 = requests.iter().map(|request| sluice_tests::wire::count(request).unwrap()).sum();
        send::all(edge.grpc(), &requests).unwrap();
        wait::until("a refused handshake", || hub.log().find("sender.refused"));
        assert_eq!(upstream.spans(), 0);
        put_pair(edge.folder(), &authority.pair());
        upstream.wait_for_spans(sent);
        let end = edge.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{kind}: {}", end.stderr);
        assert_eq!(end.account.sum("destination", "delivered"), sent as i64);
        assert_eq!(hub.terminate().code, 0);
        assert_eq!(upstream.spans(), sent);
    }
}
