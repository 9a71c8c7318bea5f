//! A config that is wrong is told so: where, what, and what to do; all of it in one run.

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Output, Sluice, run};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::guests;

fn validate(yaml: &str) -> Output {
    run(&["validate"], Some(&Folder::new(yaml).config()))
}

fn good() -> String {
    Config::to(&Sink::start()).yaml()
}

/// The line and column, from 1, at which this text stands in a config.
fn place(yaml: &str, text: &str) -> String {
    let (number, line) = yaml.lines().enumerate().find(|(_, line)| line.contains(text)).expect("the text is there");
    format!("config.yaml:{}:{}: error:", number + 1, line.find(text).unwrap() + 1)
}

#[track_caller]
fn fails(output: &Output, fragments: &[&str]) {
    assert_eq!(output.code, 1, "{output:?}");
    for fragment in fragments {
        assert!(output.stderr.contains(fragment), "`{fragment}` is not in:\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

#[test]
fn a_config_that_is_right_is_silent() {
    let output = validate(&good());
    assert_eq!((output.code, output.stderr.as_str(), output.stdout.as_str()), (0, "", ""));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known() {
    let yaml = good().replace("endpoint: '127.0.0.1:0' }, http", "endpont: '127.0.0.1:0' }, http");
    fails(&validate(&yaml), &[&place(&yaml, "endpont"), "endpont", "endpoint"]);
    let yaml = good().replace("retry_on_failure", "retry_on_failures");
    fails(&validate(&yaml), &[&place(&yaml, "retry_on_failures"), "retry_on_failure`"]);
}

#[test]
fn all_problems_come_in_one_run() {
    let yaml = good().replace("retry_on_failure", "retry_on_failures").replace("insecure: true", "insecure: perhaps");
    fails(&validate(&yaml), &[&place(&yaml, "retry_on_failures"), &place(&yaml, "perhaps")]);
}

/// A mistyped key of an exporter and one of a plugin, and what three plugins refuse; the mistyped
/// plugin's module is missing as well, but it is not asked.
fn broken() -> (String, [(String, &'static str); 5]) {
    let yaml = Config::to(&Sink::start())
        .processor("filter", "traces:\n  span:\n    - 'name ==== \"x\"'")
        .processor("wasm/mine", "module: nowhere.wasm")
        .processor("wasm/slip", "module: nowhere_either.wasm\nlimits: { memory_mb: 1 }")
        .processor("redaction", "allow_all_keys: true\nsluice: { on_failure: open }")
        .yaml()
        .replace("retry_on_failure", "retry_on_failures");
    let told = [
        ("retry_on_failures", "`retry_on_failures`"),
        ("'name ====", "filter"),
        ("wasm/mine:", "nowhere.wasm"),
        ("memory_mb:", "`memory_mib`"),
        ("redaction:", "unsafe_fail_open"),
    ];
    let told = told.map(|(text, says)| (place(&yaml, text), says));
    (yaml, told)
}

#[test]
fn what_plugins_refuse_comes_with_the_rest_and_each_problem_once() {
    let (yaml, told) = broken();
    let folder = Folder::new(&yaml);
    for command in ["validate", "run"] {
        let output = run(&[command], Some(&folder.config()));
        assert_eq!(output.code, 1, "{output:?}");
        let errors: Vec<_> = output.stderr.lines().filter(|line| line.contains(": error: ")).collect();
        for (place, says) in &told {
            let found = errors.iter().filter(|line| line.contains(place.as_str()) && line.contains(says)).count();
            assert_eq!(found, 1, "{command}: `{place} … {says}` in {errors:#?}");
        }
        assert_eq!(errors.len(), told.len(), "{command}: {errors:#?}");
    }
}

#[test]
fn a_reload_tells_what_is_wrong_and_what_plugins_refuse_and_the_mended_file_comes_in() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("filter", "traces: { span: ['name == \"x\"'] }"));
    let started = sluice.swaps("filter").len();
    sluice.folder().write("config.yaml", broken().0);
    for (plugin, says, seen) in
        [("filter", "traces.span[0]", started), ("wasm/mine", "nowhere.wasm", 0), ("redaction", "unsafe_fail_open", 0)]
    {
        let refused = sluice.wait_swap(plugin, seen);
        assert_eq!(refused["outcome"], "failed", "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains(says), "{refused}");
    }
    let reasons: Vec<_> = sluice.log().events("reload").iter().map(|event| event["reason"].to_string()).collect();
    for says in ["`retry_on_failures`", "`memory_mib`"] {
        assert!(reasons.iter().any(|reason| reason.contains(says)), "{says}: {reasons:#?}");
    }
    assert!(sluice.swaps("wasm/slip").is_empty(), "it was not asked");
    sluice.rewrite(&Config::to(&upstream).processor("filter", "traces: { span: ['name == \"y\"'] }"));
    wait::until("the mended file", || {
        sluice.log().events("reload").into_iter().find(|event: &Value| event["outcome"] == "applied")
    });
}

#[test]
fn an_endpoint_that_cannot_work_is_refused_before_it_is_bound() {
    for (endpoint, reason) in [
        ("localhost:99999", "`99999` is no port"),
        ("localhost", "host:port"),
        ("localhost:abc", "`abc` is no port"),
        ("", "host:port"),
        ("http://localhost:4317", "without `http://`"),
    ] {
        let yaml = good().replace("'127.0.0.1:0' }, http", &format!("'{endpoint}' }}, http"));
        fails(&validate(&yaml), &[&place(&yaml, "endpoint:"), reason]);
    }
    let yaml = Config::to(&Sink::start()).exporter("otlp_grpc/far", "endpoint: 'localhost:99999'").yaml();
    fails(&validate(&yaml), &["config.yaml:", "error: `endpoint`: `https://localhost:99999` is no address"]);
}

#[test]
fn an_exporter_without_an_address_is_told_what_to_write() {
    for (kind, example) in [("otlp_grpc", "`localhost:4317`"), ("otlp_http", "`http://localhost:4318`")] {
        let yaml = Config::to(&Sink::start()).exporter(&format!("{kind}/far"), "endpoint: ''").yaml();
        let told = validate(&yaml);
        fails(
            &told,
            &[&format!("{} an `endpoint`", place(&yaml, "endpoint: ''")), " is needed: where to send, like ", example],
        );
    }
}

#[test]
fn an_unknown_key_of_a_plugin_is_named_with_its_place_and_the_nearest_known() {
    let yaml = Config::to(&Sink::start()).processor("redaction", "allow_all_keys: true\nblocked_value: [a]").yaml();
    let place = place(&yaml, "blocked_value:");
    let told =
        format!("{place} processor `redaction`: `blocked_value`: unknown field `blocked_value`, expected one of ");
    fails(&validate(&yaml), &[&told, "; did you mean `blocked_values`?"]);
    // One that is no slip is told with all that there are, and no guess.
    let yaml = Config::to(&Sink::start()).processor("filter", "traces: { link: ['true'] }").yaml();
    let output = validate(&yaml);
    fails(&output, &["`traces.link`: unknown field `link`, expected one of `resource`, `span`, `spanevent`"]);
    assert!(!output.stderr.contains("did you mean"), "{}", output.stderr);
}

#[test]
fn a_capability_that_does_not_exist_is_refused_with_the_nearest() {
    let settings = "traces: { span: ['name == \"x\"'] }\nsluice: { capabilities: [stroe] }";
    let yaml = Config::to(&Sink::start()).processor("filter", settings).yaml();
    fails(&validate(&yaml), &[&place(&yaml, "stroe"), "did you mean `store`?"]);
}

#[test]
fn an_unknown_component_type_is_named_with_the_nearest_known() {
    let yaml = Config::to(&Sink::start()).processor("filterr", "traces: { span: ['name == \"x\"'] }").yaml();
    fails(&validate(&yaml), &[&place(&yaml, "filterr:"), "filterr", "`filter`"]);
}

#[test]
fn a_pipeline_that_names_what_is_not_there_is_told() {
    let yaml = Config::to(&Sink::start()).pipeline("traces", &["otlp"], &["nothing"], &["otlp_grpc"]).yaml();
    fails(&validate(&yaml), &[":", "error:", "nothing"]);
}

#[test]
fn a_plugin_that_does_not_take_its_config_is_placed_in_the_file() {
    let yaml = Config::to(&Sink::start()).processor("filter", "traces:\n  span:\n    - 'name ==== \"x\"'").yaml();
    fails(&validate(&yaml), &[&place(&yaml, "'name ===="), "filter"]);
    let yaml = Config::to(&Sink::start()).processor("probabilistic_sampler", "sampling_percentage: -1").yaml();
    fails(&validate(&yaml), &["config.yaml:", "sampling_percentage"]);
}

#[test]
fn a_module_that_cannot_be_used_is_refused_with_the_reason() {
    let wasm = |module: &str| Config::to(&Sink::start()).processor("wasm/mine", &format!("module: {module}")).yaml();
    fails(&validate(&wasm("nowhere.wasm")), &["config.yaml:", "wasm/mine", "nowhere.wasm"]);

    let folder = Folder::new(&wasm("noise.wasm"));
    folder.write("noise.wasm", "this is no component");
    let output = run(&["validate"], Some(&folder.config()));
    fails(&output, &["wasm/mine", "component"]);
    assert_eq!(output.stderr.lines().count(), 1, "a line a problem: {output:?}");

    // The eight bytes of an empty core module: WebAssembly, but no component.
    folder.write("noise.wasm", b"\0asm\x01\0\0\0");
    fails(&run(&["validate"], Some(&folder.config())), &["wasm/mine", "component"]);

    // An empty component: it has nothing that a plugin must have.
    folder.write("noise.wasm", b"\0asm\x0d\0\x01\0");
    fails(&run(&["validate"], Some(&folder.config())), &["wasm/mine"]);
}

#[test]
fn yaml_that_is_none_is_placed() {
    fails(&validate("receivers: [\n"), &["config.yaml:", "error:"]);
    fails(&validate(""), &["error:"]);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let yaml = good().replace("'127.0.0.1:0' }, http", "'${env:NOBODY_SETS_THIS}' }, http");
    let output = validate(&yaml);
    assert!(output.stderr.contains("NOBODY_SETS_THIS"), "{output:?}");
}

#[test]
fn a_missing_file_and_wrong_usage_have_their_own_exit_codes() {
    let output = run(&["validate"], Some(std::path::Path::new("/nowhere/config.yaml")));
    fails(&output, &["/nowhere/config.yaml"]);
    for args in [&["frobnicate"][..], &["validate", "--confg", "x"], &["run", "--config"]] {
        assert_eq!(run(args, None).code, 2, "{args:?}");
    }
    assert_eq!(run(&["--help"], None).code, 0);
    assert_eq!(run(&["--version"], None).code, 0);
}

#[test]
fn run_does_not_start_on_what_validate_refuses() {
    let yaml = good().replace("retry_on_failure", "retry_on_failures");
    let folder = Folder::new(&yaml);
    fails(&run(&["run"], Some(&folder.config())), &[&place(&yaml, "retry_on_failures")]);
}

#[test]
fn a_redactor_is_not_open_by_accident() {
    let redaction = |more: &str| {
        let settings = format!("allow_all_keys: true\nsluice: {{ on_failure: open{more} }}");
        Config::to(&Sink::start()).processor("redaction", &settings).yaml()
    };
    fails(&validate(&redaction("")), &["config.yaml:", "unsafe_fail_open"]);
    assert_eq!(validate(&redaction(", unsafe_fail_open: true")).code, 0);
}

#[test]
fn a_module_that_is_not_the_pinned_one_is_refused() {
    let wrong = "0".repeat(64);
    let settings = format!("module: tester.wasm\nconfig: {{ does: stamp }}\nsha256: '{wrong}'");
    let folder = Folder::new(&Config::to(&Sink::start()).processor("wasm/tester", &settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let output = run(&["validate"], Some(&folder.config()));
    fails(&output, &["wasm/tester", &wrong]);
}
