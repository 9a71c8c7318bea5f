//! Secrets: a marker in every key that holds one is nowhere to be seen.

use rcgen::generate_simple_self_signed;
use sluice_tests::collector::{Config, Folder, Sluice, config, run};
use sluice_tests::send::Grpc;
use sluice_tests::send::http::{Post, get};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};

/// Part of everything secret but the key.
const MARKER: &str = "s3cr3tm4rk3r";

/// A configuration with a secret wherever one can be, and all that must not be seen.
fn full(upstream: &Sink) -> (Config, Vec<String>) {
    let pair = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (key, certificate) = (pair.signing_key.serialize_pem(), pair.cert.pem());
    let pem = |pem: &str| pem.lines().collect::<Vec<_>>().join("\\n");
    let tls = format!("tls: {{ cert_pem: \"{}\", key_pem: \"{}\" }}", pem(&certificate), pem(&key));
    let port = |auth: &str| format!("endpoint: '127.0.0.1:0', auth: {{ authenticator: {auth} }}");
    let exporter = |auth: &str| {
        config::grpc(upstream, &format!("headers: {{ x-api-key: {MARKER}-h }}\nauth: {{ authenticator: {auth} }}"))
    };
    let config = Config::new()
        .receiver(
            "otlp",
            &format!(
                "protocols: {{ grpc: {{ {} }}, http: {{ {} }} }}",
                port("bearertokenauth/in"),
                port("basicauth/in")
            ),
        )
        .receiver("otlp/tls", &format!("protocols: {{ grpc: {{ endpoint: '127.0.0.1:0', {tls} }} }}"))
        .extension("bearertokenauth/in", &format!("tokens: [{MARKER}-1, {MARKER}-2]"))
        .extension("bearertokenauth/out", &format!("token: {MARKER}-3"))
        .extension("basicauth/in", &format!("htpasswd: {{ inline: 'edge:{MARKER}-4' }}"))
        .extension("basicauth/out", &format!("client_auth: {{ username: edge, password: {MARKER}-5 }}"))
        .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }")
        .processor(
            "redaction",
            &format!("allow_all_keys: true\nblocked_key_patterns: [mail]\nhash_function: hmac-sha256\nhash_key: {MARKER}-6-and-long-enough-for-a-key"),
        )
        .exporter("otlp_grpc/1", &exporter("bearertokenauth/out"))
        .exporter("otlp_grpc/2", &exporter("basicauth/out"));
    let body = key.lines().nth(1).unwrap().to_owned();
    (config, vec![MARKER.to_owned(), body])
}

fn folder(config: &Config) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("token", format!("{MARKER}-7"));
    folder
}

#[track_caller]
fn shows_none(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{what} shows `{secret}`:\n{text}");
    }
}

#[test]
fn no_secret_is_in_logs_metrics_the_admin_api_or_print_config() {
    let upstream = Sink::start();
    upstream.script([Answer::UNAVAILABLE, Answer::UNAVAILABLE]);
    let (config, secrets) = full(&upstream);
    let sluice = Sluice::start_in(folder(&config));
    let request = Exporter::new(501).request(20);
    let posted = |credentials: &str| {
        Post::protobuf(request.clone()).header("authorization", credentials).to(sluice.http()).unwrap()
    };
    // `edge:` and the marker with `-4`; and a password that is wrong.
    assert_eq!(posted("Basic ZWRnZTpzM2NyM3RtNHJrM3ItNA==").status, 200);
    let refused = posted("Basic ZWRnZTp3cm9uZw==");
    assert_eq!(refused.status, 401);
    shows_none("a refusal", &String::from_utf8_lossy(&refused.body), &secrets);
    let refused = Grpc::new(sluice.grpc()).unwrap().send(&request).unwrap_err();
    shows_none("a refusal", &format!("{refused:?}"), &secrets);
    let admin = sluice.address("sluice", "");
    for (at, path) in [
        (sluice.address("telemetry", ""), "/metrics"),
        (admin, "/v1/plugins"),
        (admin, "/v1/plugins/redaction"),
        (admin, "/v1/account"),
    ] {
        let reply = get(at, path).unwrap();
        assert_eq!(reply.status, 200, "{path}");
        shows_none(path, &String::from_utf8_lossy(&reply.body), &secrets);
    }
    // Once more, with something changed, so that the log tells of a reload.
    sluice.rewrite(&config.extension("health_check", "endpoint: '127.0.0.1:0'"));
    sluice_tests::wait::until("the reload", || sluice.log().find("reload"));
    let shown = run(&["print-config"], Some(&sluice.folder().config()));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    shows_none("print-config", &format!("{}{}", shown.stdout, shown.stderr), &secrets);
    for open in ["x-api-key", "hash_key", "[REDACTED]", &upstream.address().to_string(), "token_file: token"] {
        assert!(shown.stdout.contains(open), "`{open}` is not in:\n{}", shown.stdout);
    }
    let end = sluice.terminate();
    shows_none("the log", &end.stderr, &secrets);
}

#[test]
fn no_secret_is_in_what_is_said_about_a_broken_configuration() {
    let upstream = Sink::start();
    let (config, secrets) = full(&upstream);
    let good = config.yaml();
    let broken = [
        good.replace(&format!("token: {MARKER}-3"), &format!("token: [{MARKER}-3]")),
        good.replace(&format!("tokens: [{MARKER}-1, {MARKER}-2]"), &format!("tokens: {MARKER}-1")),
        good.replace(&format!("x-api-key: {MARKER}-h"), &format!("x-api-key: \"{MARKER}\\n\"")),
        good.replace(&format!("password: {MARKER}-5"), &format!("password: {{ a: {MARKER}-5 }}")),
        good.replace(&format!("inline: 'edge:{MARKER}-4'"), &format!("inline: '{MARKER}-4'")),
        good.replace("key_pem: \"-----BEGIN", "key_pem: \"-----BEGUN"),
        good.replace("hash_function: hmac-sha256", "hash_function: none"),
    ];
    for broken in broken {
        assert_ne!(broken, good);
        let folder = Folder::new(&broken);
        folder.write("token", format!("{MARKER}-7"));
        let output = run(&["validate"], Some(&folder.config()));
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("error:"), "{output:?}");
        shows_none("validate", &format!("{}{}", output.stdout, output.stderr), &secrets);
    }
}

#[test]
fn print_config_shows_what_run_would_use_or_what_is_wrong() {
    let upstream = Sink::start();
    let folder = Folder::new(&Config::to(&upstream).yaml());
    folder.write("more.yaml", "exporters: { otlp_grpc: { timeout: '${env:NO_SUCH_VARIABLE:-7s}' } }\n");
    let more = folder.path("more.yaml").display().to_string();
    // `run` puts the last file last.
    let shown = run(&["print-config", "--config", &folder.config().display().to_string()], Some(more.as_ref()));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("timeout: 7s") && shown.stdout.contains("grpc:"), "{}", shown.stdout);
    folder.write("more.yaml", "exporters: { otlp_grpc: { timeuot: 7s } }\n");
    let wrong = run(&["print-config", "--config", &folder.config().display().to_string()], Some(more.as_ref()));
    assert_eq!((wrong.code, wrong.stdout.as_str()), (1, ""));
    assert!(wrong.stderr.contains("more.yaml:1:27: error: ") && wrong.stderr.contains("`timeout`"), "{}", wrong.stderr);
}
