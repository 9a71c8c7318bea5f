//! A config that is wrong is told so: where, what, and what to do; all of it in one run.

use sluice_tests::collector::{Config, Folder, Output, run};
use sluice_tests::sink::Sink;

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
    fails(&run(&["validate"], Some(&folder.config())), &["wasm/mine", "component"]);

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
