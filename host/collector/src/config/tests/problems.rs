//! What is told of a wrong configuration.

use std::fmt::Write as _;

use super::{GOOD, Source, load, text, told};

/// Each configuration, and all that is told of it.
const CASES: &[(&str, &str, &[&str])] = &[
    ("nothing is wrong", GOOD, &[]),
    ("an empty file", "", &["c.yaml:1:1: error: there is no `service`: nothing would run"]),
    ("a list", "- a\n", &["c.yaml:1:1: error: `the configuration` must be a mapping, not a list"]),
    (
        "a mistyped section",
        "recievers:\nservice: { pipelines: { traces: { receivers: [a], exporters: [b] } } }\n",
        &[
            "c.yaml:1:1: error: unknown key `recievers`; did you mean `receivers`?",
            "c.yaml:2:47: error: pipeline `traces`: receiver `a` is not defined in `receivers`",
            "c.yaml:2:63: error: pipeline `traces`: exporter `b` is not defined in `exporters`",
        ],
    ),
    (
        "a mistyped key deep down, a wrong type, a wrong duration: all at once",
        "\
receivers:
  otlp:
    protocols:
      grpc:
        endpont: localhost:4317
        max_concurrent_streams: many
        keepalive:
          server_parameters:
            time: 5
      htpp:
exporters:
  debug:
service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [debug]
",
        &[
            "c.yaml:5:9: error: unknown key `endpont`; did you mean `endpoint`?",
            "c.yaml:6:33: error: `max_concurrent_streams` must be a whole number from 0, not a string",
            "c.yaml:9:19: error: `time`: a duration needs a unit: `500ms`, `10s`, `1m30s`",
            "c.yaml:10:7: error: unknown key `htpp`; did you mean `http`?",
        ],
    ),
    (
        "unknown types",
        "\
receivers: { otpl: , jaeger: , 9x: }
processors: { k8sattributes: , wsam: }
exporters: { kafka/a: , x: }
extensions: { pprof: , healthcheck: }
connectors: { forward: }
service: { pipelines: { traces: { receivers: [otpl], exporters: [x] } } }
",
        &[
            "c.yaml:1:14: error: unknown receiver type `otpl`; did you mean `otlp`?",
            "c.yaml:1:22: error: receiver type `jaeger` is not supported yet",
            "c.yaml:1:22: warning: receiver `jaeger` is in no pipeline",
            "c.yaml:1:32: error: `9x` is no receiver id: a type consists of letters, digits and `_`",
            "c.yaml:2:15: error: processor type `k8sattributes` is not supported yet",
            "c.yaml:2:15: warning: processor `k8sattributes` is in no pipeline",
            "c.yaml:2:32: error: unknown processor type `wsam`; did you mean `wasm`?",
            "c.yaml:2:32: warning: processor `wsam` is in no pipeline",
            "c.yaml:3:14: error: exporter type `kafka` is not supported yet",
            "c.yaml:3:14: warning: exporter `kafka/a` is in no pipeline",
            "c.yaml:3:25: error: unknown exporter type `x`; there are `otlp_grpc`, `otlp`, `otlp_http`, `otlphttp`, `debug`, `failover`, `file`, `prometheus`",
            "c.yaml:4:15: error: extension type `pprof` is not supported yet",
            "c.yaml:4:15: warning: extension `pprof` does not run: `service.extensions` does not name it",
            "c.yaml:4:24: error: unknown extension type `healthcheck`; did you mean `health_check`?",
            "c.yaml:4:24: warning: extension `healthcheck` does not run: `service.extensions` does not name it",
            "c.yaml:5:15: error: connector type `forward` is not supported yet",
            "c.yaml:5:15: warning: connector `forward` is in no pipeline",
        ],
    ),
    (
        "pipelines",
        "\
receivers: { otlp: { protocols: { grpc: } } }
exporters: { debug: , otlp/up: { endpoint: 'localhost:1' } }
service:
  extensions: [health_check]
  pipelines:
    metrics: { receivers: [otlp], exporters: [debug] }
    tracez: { receivers: [otlp], exporters: [debug] }
    traces: { receivers: [], processors: [batch], exporter: [debug] }
    traces/two: { receivers: [otlp, otlp], exporters: [otlp_grpc/up, dbug] }
",
        &[
            "c.yaml:2:23: warning: exporter `otlp/up` is in no pipeline",
            "c.yaml:4:16: error: extension `health_check` is not defined in `extensions`",
            "c.yaml:6:28: error: pipeline `metrics`: `otlp` as a receiver of metrics is not supported yet; connectors are",
            "c.yaml:6:47: error: pipeline `metrics`: `debug` as an exporter of metrics is not supported yet; `prometheus` is",
            "c.yaml:7:5: error: pipeline `tracez`: there is no signal `tracez`; only `traces` and `metrics` pipelines are supported",
            "c.yaml:8:5: error: pipeline `traces`: `exporters` is missing",
            "c.yaml:8:15: error: pipeline `traces`: `receivers` is empty",
            "c.yaml:8:43: error: pipeline `traces`: processor `batch` is not defined in `processors`",
            "c.yaml:8:51: error: unknown key `exporter`; did you mean `exporters`?",
            "c.yaml:9:37: error: `otlp` stands here twice",
            "c.yaml:9:56: error: pipeline `traces/two`: exporter `otlp_grpc/up` is not defined in `exporters`; did you mean `otlp/up`?",
            "c.yaml:9:70: error: pipeline `traces/two`: exporter `dbug` is not defined in `exporters`; did you mean `debug`?",
        ],
    ),
    (
        "authenticators that cannot be had",
        "\
extensions: { health_check: , basicauth: { htpasswd: { inline: 'u:p' } }, bearertokenauth: { token: t }, bearertokenauth/b: }
receivers:
  otlp: { protocols: { grpc: { auth: { authenticator: health_check } }, http: { auth: { authenticator: bearertokenauth/b } } } }
exporters:
  otlp: { endpoint: 'localhost:1', auth: { authenticator: basicauth } }
  otlp/b: { endpoint: 'localhost:1', auth: { authenticator: bearertokenauth } }
  otlp_http: { endpoint: 'http://localhost:1', auth: { authenticator: none } }
service:
  extensions: [health_check, basicauth, bearertokenauth/b]
  pipelines: { traces: { receivers: [otlp], exporters: [otlp, otlp/b, otlp_http] } }
",
        &[
            "c.yaml:1:75: warning: extension `bearertokenauth` does not run: `service.extensions` does not name it",
            "c.yaml:1:106: error: one of `token`, `tokens` and `filename` is needed",
            "c.yaml:3:40: error: extension `health_check` is no authenticator: `bearertokenauth` and `basicauth` are",
            "c.yaml:5:44: error: extension `basicauth` does not say as whom to send: it needs `client_auth`",
            "c.yaml:6:46: error: extension `bearertokenauth` does not run: name it in `service.extensions`",
            "c.yaml:7:56: error: extension `none` is not defined in `extensions`",
        ],
    ),
    ("no pipeline", "service: { pipelines: }\n", &["c.yaml:1:12: error: `pipelines` is empty: name one, like `traces`"]),
    ("nor that key", "service: { extensions: [] }\n", &["c.yaml:1:1: error: `service` needs `pipelines`"]),
    (
        "keys that stand twice, and no YAML after that",
        "receivers:\n  otlp:\n  otlp:\nexporters: [\n",
        &[
            "c.yaml:3:3: error: `otlp` stands here twice; the first is in line 2",
            "c.yaml:5:1: error: while parsing a node, did not find expected node content",
        ],
    ),
    (
        "two documents",
        "a: 1\n---\nb: 2\n",
        &["c.yaml:2:1: error: one document a file; give the other in a file of its own"],
    ),
    ("a key that is none", "? [a]\n: 1\n", &["c.yaml:1:3: error: a key must be a plain word"]),
];

#[test]
fn everything_wrong_is_told_with_its_place_in_one_run() {
    for (what, yaml, expected) in CASES {
        assert_eq!(told(yaml), *expected, "{what}");
    }
}

/// Added to what is good at the top level, and all that is told of it; every line is line 4 or
/// after.
const ADDED: &[(&str, &[&str])] = &[
    (
        "processors: { batch: { send_batch_size: 10, timeout: 1s } }",
        &[
            "c.yaml:4:15: warning: `batch` does nothing here: exporters batch, see `sending_queue.batch`; it can be taken out",
            "c.yaml:4:15: warning: processor `batch` is in no pipeline",
        ],
    ),
    (
        "processors: { wasm: }",
        &[
            "c.yaml:4:15: error: a `wasm` processor needs `module`, the path of the component",
            "c.yaml:4:15: warning: processor `wasm` is in no pipeline",
        ],
    ),
    (
        "processors:\n  wasm:\n    module: a.wasm\n    public_key: k\n    profile: full\n    on_failure: quarantine\n    on_poison: drop\n    restart: {}\n    \
         rollout: { strategy: canary, share: 0.6, max_latency_ratio: 0.5, max_drop_ratio: 2, max_drops_ratio: 1 }\n    sha256: abc\n    limits: { store_mib: 1, memory_mib: 0, timeout: 0s, memory_mb: 1 }\n    config: text",
        &[
            "c.yaml:5:3: warning: processor `wasm` is in no pipeline",
            "c.yaml:7:5: error: `public_key`: `k`: this is no minisign public key: write the line of 56 characters that begins with `RW`",
            "c.yaml:8:14: error: `profile` must be `pure` or `compat`",
            "c.yaml:12:34: error: `share` must be more than 0 and at most 0.5",
            "c.yaml:12:46: error: `max_latency_ratio` must be at least 1",
            "c.yaml:12:70: error: `max_drop_ratio` must be from 0 to 1",
            "c.yaml:12:89: error: unknown key `max_drops_ratio`; did you mean `max_drop_ratio`?",
            "c.yaml:13:5: error: `sha256` must have 64 hexadecimal digits",
            "c.yaml:14:29: error: `memory_mib` must be at least 1",
            "c.yaml:14:44: error: `timeout` must be more than 0",
            "c.yaml:14:57: error: unknown key `memory_mb`; did you mean `memory_mib`?",
            "c.yaml:15:13: error: `config` must be a mapping",
        ],
    ),
    (
        "processors: { wasm: { module: }, wasm/b: { module: '', limits: { memory_mib: 5000 } } }",
        &[
            "c.yaml:4:15: warning: processor `wasm` is in no pipeline",
            "c.yaml:4:23: error: a `wasm` processor needs `module`, the path of the component",
            "c.yaml:4:34: warning: processor `wasm/b` is in no pipeline",
            "c.yaml:4:52: error: `module` must not be empty: write a path",
            "c.yaml:4:66: error: `memory_mib` must be at most 4096",
        ],
    ),
    (
        "processors: { wasm: { module: m, sha256: , public_key: } }",
        &[
            "c.yaml:4:15: warning: processor `wasm` is in no pipeline",
            "c.yaml:4:34: error: `sha256` says nothing: write its value, or leave the key out",
            "c.yaml:4:44: error: `public_key` says nothing: write its value, or leave the key out",
        ],
    ),
    (
        "extensions: { sluice: { require_signed: , trust: { keys: } } }",
        &[
            "c.yaml:4:15: warning: extension `sluice` does not run: `service.extensions` does not name it",
            "c.yaml:4:25: error: `require_signed` says nothing: write its value, or leave the key out",
            "c.yaml:4:52: error: `keys` says nothing: write its value, or leave the key out",
        ],
    ),
    (
        "extensions: { bearertokenauth: { header: 'a b', token: t }, basicauth: { htpasswd: { inline: t } }, file_storage: { directory: , directory_permissions: '9' }, health_check: { path: x } }",
        &[
            "c.yaml:4:15: warning: extension `bearertokenauth` does not run: `service.extensions` does not name it",
            "c.yaml:4:34: error: `header`: `a b` is no header name",
            "c.yaml:4:61: warning: extension `basicauth` does not run: `service.extensions` does not name it",
            "c.yaml:4:74: error: `htpasswd`: a line is not `user:password`",
            "c.yaml:4:101: warning: extension `file_storage` does not run: `service.extensions` does not name it",
            "c.yaml:4:117: error: a `directory` is needed: somewhere that outlives the process",
            "c.yaml:4:130: error: `directory_permissions` must be three or four octal digits, such as \"0750\"",
            "c.yaml:4:160: warning: extension `health_check` does not run: `service.extensions` does not name it",
            "c.yaml:4:176: error: `path` must begin with `/`",
        ],
    ),
    (
        "extensions: { sluice: { state_dir: s, admin: { token: t, endpoint: '0.0.0.0:1' }, trust: { keys: [k] }, require_signed: 1 } }",
        &[
            "c.yaml:4:15: warning: extension `sluice` does not run: `service.extensions` does not name it",
            "c.yaml:4:48: error: unknown key `token`; known here: `endpoint`, `token_file`",
            "c.yaml:4:58: error: `endpoint`: the admin API is for this machine alone: name `localhost`, `127.0.0.1` or `[::1]` and a port",
            "c.yaml:4:92: error: `keys`: `k`: this is no minisign public key: write the line of 56 characters that begins with `RW`",
            "c.yaml:4:121: error: `require_signed` must be true or false, not a number",
        ],
    ),
];

/// What replaces the good configuration's first two lines in part, and what is told of it: each names the key.
const KEYS: &[(&str, &str, &[&str])] = &[
    ("grpc:", "", &["c.yaml:1:22: error: `protocols` must name at least one of `grpc` and `http`"]),
    (
        "grpc:",
        "grpc: { keepalive: { server_parameters: { time: '', timeout: -1s, max_connection_age: 999999h1y } } }",
        &[
            "c.yaml:1:83: error: `time`: a duration is written like `500ms`, `10s` or `1m30s`",
            "c.yaml:1:96: error: `timeout`: a duration must not be negative",
            "c.yaml:1:121: error: `max_connection_age`: a duration is written like `500ms`, `10s` or `1m30s`",
        ],
    ),
    (
        "grpc:",
        "grpc: { auth: { authenticator: } }",
        &["c.yaml:1:51: error: an `authenticator` is needed: the id of an extension"],
    ),
    ("grpc:", "grpc: { auth: }", &["c.yaml:1:43: error: an `authenticator` is needed: the id of an extension"]),
    (
        "debug:",
        "debug: { use_internal_logger: false, sending_queue: { enabled: false, queue_size: 0 } }",
        &[
            "c.yaml:2:23: error: `use_internal_logger: false` is not supported: it writes into the collector's own log, always",
            "c.yaml:2:68: error: `enabled: false`: an exporter without a queue is not supported yet; `queue_size: 1` comes near",
            "c.yaml:2:84: error: `queue_size` must be at least 1",
        ],
    ),
    (
        "debug:",
        "debug: , file: { path: '' }, file/b: { path: }",
        &[
            "c.yaml:2:23: warning: exporter `file` is in no pipeline",
            "c.yaml:2:37: error: `path` must not be empty: write a path",
            "c.yaml:2:43: warning: exporter `file/b` is in no pipeline",
            "c.yaml:2:53: error: a `path` is needed",
        ],
    ),
    (
        "debug:",
        "debug: , otlp_http: { endpoint: 'http://h:1', headers: { a b: c, d: \"\\n\" }, tls: { server_name_override: 'a b' } }",
        &[
            "c.yaml:2:23: warning: exporter `otlp_http` is in no pipeline",
            "c.yaml:2:60: error: `headers`: `a b` is no header name",
            "c.yaml:2:60: error: `headers`: the value of `d` holds characters that a header cannot",
            "c.yaml:2:97: error: `server_name_override`: `a b` is no host name",
        ],
    ),
];

#[test]
fn what_is_wrong_with_a_value_is_told_with_its_key() {
    for (good, wrong, expected) in KEYS {
        assert_eq!(told(&GOOD.replacen(good, wrong, 1)), *expected, "{wrong}");
    }
}

#[test]
fn what_comes_later_is_refused_by_name() {
    for (added, expected) in ADDED {
        assert_eq!(told(&format!("{GOOD}{added}\n")), *expected, "{added}");
    }
}

/// `service.telemetry` in the good configuration, and what is told of it.
const TELEMETRY: &[(&str, &[&str])] = &[
    ("logs: { level: DEBUG, encoding: json }", &[]),
    ("metrics: { level: none }", &[]),
    (
        "metrics: { readers: [{ pull: { exporter: { prometheus: { host: 0.0.0.0, port: 8889, without_units: true } } } }] }",
        &[],
    ),
    (
        "logs: { level: loud, sampling: { enabled: false } }",
        &[
            "c.yaml:7:20: error: `level` must be `debug` or `info` or `warn` or `error`",
            "c.yaml:7:26: error: `sampling` is not supported yet",
        ],
    ),
    (
        "metrics: { address: ':8889' }",
        &["c.yaml:7:16: warning: `address` is the Collector's older way; name a `pull` reader in `readers`"],
    ),
    (
        "metrics: { readers: [{ periodic: {} }, { pull: {} }, {}] }",
        &[
            "c.yaml:7:28: error: `periodic` is not supported yet",
            "c.yaml:7:46: error: `pull` needs `exporter: { prometheus: { host, port } }`",
            "c.yaml:7:58: error: a reader is `pull: { exporter: { prometheus: { host, port } } }`",
        ],
    ),
    (
        "metrics: { readers: [{ pull: { exporter: { prometheus: { port: 88888, without_units: false } } } }] }",
        &[
            "c.yaml:7:62: error: `port` must be from 0 to 65535",
            "c.yaml:7:75: error: `without_units: false` is not supported yet",
        ],
    ),
    ("traces: {}", &["c.yaml:7:5: error: `traces` is not supported yet"]),
];

#[test]
fn what_is_wrong_with_telemetry_is_told() {
    let head = "receivers: { otlp: { protocols: { grpc: } } }\nexporters: { debug: }\nservice:\n  pipelines:\n    traces: { receivers: [otlp], exporters: [debug] }\n  telemetry:\n";
    for (telemetry, expected) in TELEMETRY {
        assert_eq!(told(&format!("{head}    {telemetry}\n")), *expected, "{telemetry}");
    }
}

#[test]
fn problems_of_several_files_come_in_the_order_of_the_files() {
    let one = Source::Text("z.yaml".to_owned(), format!("{GOOD}nope: 1\n"));
    let two = Source::Text("a.yaml".to_owned(), "exporters: { debug: { verbosty: basic } }\n".to_owned());
    let told = load(&[one, two]).unwrap_err().to_string();
    let expected = "z.yaml:4:1: error: unknown key `nope`; known here: `connectors`, `exporters`, `extensions`, `processors`, `receivers`, `service`\n\
                    a.yaml:1:23: error: unknown key `verbosty`; did you mean `verbosity`?\n";
    assert_eq!(told, expected);
}

#[test]
fn anchors_and_merge_keys_work_and_cannot_explode() {
    let yaml = "\
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp/a: &up { endpoint: localhost:1, tls: { insecure: true } }
  otlp/b: { <<: *up, endpoint: localhost:2 }
  otlp/c: *up
service: { pipelines: { traces: { receivers: [otlp], exporters: [otlp/a, otlp/b, otlp/c] } } }
";
    let loaded = load(&[text(yaml)]).map_err(|problems| problems.to_string()).unwrap();
    let [a, b, c] = loaded.config.exporters.as_slice() else { panic!("three exporters") };
    assert_eq!(a.settings, c.settings);
    assert_ne!(a.settings, b.settings);

    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = level - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{ten}]").unwrap();
    }
    let told = told(&laughs);
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("error: more than 100000 values"), "{told:?}");
}

#[test]
fn depth_is_bounded() {
    let told = told(&format!("a: {}{}\n", "[".repeat(5_000), "]".repeat(5_000)));
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn storage_must_name_a_file_storage_that_runs() {
    let of = |storage: &str, extensions: &str| {
        told(&format!(
            "\
receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters: {{ otlp: {{ endpoint: 'localhost:1', sending_queue: {{ storage: {storage} }} }} }}
extensions: {{ file_storage/q: {{ directory: /q }}, sluice: }}
service:
  extensions: [{extensions}]
  pipelines: {{ traces: {{ receivers: [otlp], exporters: [otlp] }} }}
"
        ))
    };
    assert_eq!(of("file_storage/q", "file_storage/q, sluice"), [""; 0]);
    let error = "c.yaml:2:64: error: exporter `otlp`: extension";
    assert_eq!(
        of("file_storage", "file_storage/q, sluice"),
        [format!("{error} `file_storage` is not defined in `extensions`")]
    );
    assert!(
        of("file_storage/q", "sluice")
            .contains(&format!("{error} `file_storage/q` does not run: name it in `service.extensions`"))
    );
    assert_eq!(
        of("sluice", "file_storage/q, sluice"),
        [format!("{error} `sluice` keeps no queues: name one of type `file_storage`")]
    );
}

#[test]
fn what_is_wrong_in_an_anchor_is_told_once() {
    let yaml = "\
receivers: { otlp: { protocols: { grpc: } } }
exporters:
  otlp/a: &up { endpoint: localhost:1, endpont: 1 }
  otlp/b: *up
service: { pipelines: { traces: { receivers: [otlp], exporters: [otlp/a, otlp/b] } } }
";
    assert_eq!(told(yaml), ["c.yaml:3:40: error: unknown key `endpont`; did you mean `endpoint`?"]);
}

#[test]
fn whatever_the_text_it_is_told_and_nothing_worse() {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
    let whole = CASES.iter().map(|(_, yaml, _)| *yaml).chain([crate::config::DEFAULT]).collect::<String>();
    let mut random = StdRng::seed_from_u64(1);
    let pieces = [
        "${", "}", "$$", "&a ", "*a", "<<: ", "\t", "|\n", "? ", "- ", "'", "\"", "\u{feff}", "---\n", "\u{e9}",
        "!!int ", "{", "[", "]", ":", "\n", "#",
    ];
    for _ in 0..2_000 {
        let mut text: Vec<char> =
            whole.chars().skip(random.random_range(0..whole.len())).take(random.random_range(0..400)).collect();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..=text.len());
            let end = text.len().min(at + random.random_range(0..3));
            text.splice(at..end, pieces[random.random_range(0..pieces.len())].chars());
        }
        told(&text.into_iter().collect::<String>());
    }
}
