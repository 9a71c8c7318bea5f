//! Who may send: tokens and passwords on both sides of the collector.

use bytes::Bytes;
use http::StatusCode;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::http::{Post, get};
use sluice_tests::send::{self, Grpc};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::wire;
use tonic::Code;

/// Part of everything secret.
const MARKER: &str = "s3cr3tm4rk3r";

fn spans(requests: &[Bytes]) -> u64 {
    requests.iter().map(|request| wire::count(request).unwrap()).sum()
}

/// A collector that asks its senders for what `extension` with `settings` knows.
fn guarded(upstream: &Sink, extension: &str, settings: &str, secret: &str) -> Sluice {
    let port = format!("endpoint: '127.0.0.1:0', auth: {{ authenticator: {extension} }}");
    let config = Config::to(upstream)
        .receiver("otlp", &format!("protocols: {{ grpc: {{ {port} }}, http: {{ {port} }} }}"))
        .extension(extension, settings);
    let folder = Folder::new(&config.yaml());
    folder.write("secret", secret);
    Sluice::start_in(folder)
}

/// A collector that sends to this one with what `extension` with `settings` knows.
fn edge(kind: &str, hub: &Sluice, extension: &str, settings: &str, secret: &str) -> Sluice {
    let endpoint = match kind {
        "otlp_grpc" => hub.grpc().to_string(),
        _ => format!("http://{}", hub.http()),
    };
    let exporter = format!(
        "endpoint: '{endpoint}'\ntls: {{ insecure: true }}\nauth: {{ authenticator: {extension} }}\nsending_queue: {{ batch: {{ flush_timeout: 20ms }} }}"
    );
    let folder = Folder::new(&Config::new().exporter(kind, &exporter).extension(extension, settings).yaml());
    folder.write("secret", secret);
    Sluice::start_in(folder)
}

/// What both say of themselves, which must not hold a secret.
fn says(sluice: &Sluice) -> String {
    let metrics = get(sluice.address("telemetry", ""), "/metrics").unwrap();
    format!("{}{}", sluice.log().text(), String::from_utf8_lossy(&metrics.body))
}

#[test]
fn senders_without_the_right_credentials_are_turned_away_and_the_others_come_in() {
    let (token, other) = (format!("{MARKER}-1"), format!("{MARKER}-2"));
    let (tokens, file) = (format!("tokens: [{other}, {token}]"), "filename: secret".to_owned());
    let users = "htpasswd: { file: secret }".to_owned();
    let own = format!("client_auth: {{ username: edge, password: {token} }}");
    let htpasswd = format!("edge:{token}\n");
    for (extension, server, server_file, client, client_file) in [
        ("bearertokenauth", &tokens, "", &file, token.as_str()),
        ("bearertokenauth/hub", &file, token.as_str(), &format!("token: {token}"), ""),
        ("basicauth", &users, htpasswd.as_str(), &own, ""),
    ] {
        for kind in ["otlp_grpc", "otlp_http"] {
            let upstream = Sink::start();
            let hub = guarded(&upstream, extension, server, server_file);
            let edge = edge(kind, &hub, extension, client, client_file);
            let requests = Exporter::new(5).requests(10, 20);
            send::all(edge.grpc(), &requests).unwrap();
            upstream.wait_for_spans(spans(&requests));
            let refused = Grpc::new(hub.grpc()).unwrap().send(&requests[0]).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{extension}: {refused}");
            let reply = Post::protobuf(requests[0].clone()).to(hub.http()).unwrap();
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{extension}");
            let scheme = if extension.starts_with("basic") { "Basic realm=" } else { "Bearer" };
            assert!(reply.header("www-authenticate").starts_with(scheme), "{reply:?}");
            assert_eq!(reply.rpc_status().unwrap().code, Code::Unauthenticated as i32);
            assert!(hub.log().find("sender.refused").is_some());
            assert!(![&hub, &edge].iter().any(|sluice| says(sluice).contains(MARKER)));
            let (edge, hub) = (edge.terminate(), hub.terminate());
            assert_eq!((edge.code, edge.account.missing()), (0, 0), "{}", edge.stderr);
            assert_eq!((hub.code, hub.account.missing()), (0, 0), "{}", hub.stderr);
            assert_eq!(upstream.spans(), spans(&requests), "{extension} {kind}");
            assert!(!edge.stderr.contains(MARKER) && !hub.stderr.contains(MARKER));
        }
    }
}

#[test]
fn a_rotated_token_is_in_force_without_a_restart() {
    let upstream = Sink::start();
    let hub = guarded(&upstream, "bearertokenauth", "filename: secret", "old");
    let edge = edge("otlp_grpc", &hub, "bearertokenauth", "filename: secret", "old");
    let requests = Exporter::new(6).requests(5, 20);
    send::all(edge.grpc(), &requests).unwrap();
    upstream.wait_for_spans(spans(&requests));
    hub.folder().write("secret", "new");
    edge.folder().write("secret", "new");
    send::all(edge.grpc(), &requests).unwrap();
    upstream.wait_for_spans(2 * spans(&requests));
    // The old one no longer opens anything: that is for good, and counted.
    edge.folder().write("secret", "old");
    send::all(edge.grpc(), &requests).unwrap();
    let edge = edge.terminate();
    assert_eq!(edge.account.missing(), 0, "{}", edge.stderr);
    assert_eq!(edge.account.sum("destination", "failed") as u64, spans(&requests));
    assert_eq!(hub.terminate().code, 0);
    assert_eq!(upstream.spans(), 2 * spans(&requests));
}
