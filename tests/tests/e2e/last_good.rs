//! With `--last-good` a start with a broken configuration serves what served last.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sluice_tests::collector::{Config, Folder, Sluice, command, run};
use sluice_tests::send::http;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::guests;
use crate::swap::stamp_now;

const PLUGIN: &str = "wasm/tester";
/// What no variable holds unless it is set, and what must not be kept.
const SECRET: &str = "a secret of this test";

fn config(upstream: &Sink) -> Config {
    let settings = "module: tester.wasm\nconfig: { does: stamp }";
    let secret = "actions: [{ key: secret, value: '${env:SLUICE_TEST_SECRET}', action: upsert }]";
    Config::to(upstream).processor(PLUGIN, settings).processor("attributes", secret)
}

fn folder(config: &Config) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    folder
}

fn variables() -> [(&'static str, OsString); 1] {
    [("SLUICE_TEST_SECRET", SECRET.into())]
}

/// Starts on this folder, and keeps what serves beside it.
fn spawn(folder: Folder, kept: &Path) -> Sluice {
    Sluice::spawn_with(folder, &["--last-good", kept.to_str().unwrap()], &variables())
}

/// Has a process keep what it serves with, and gives its folder.
fn after_a_good_start(upstream: &Sink, kept: &Path) -> Folder {
    let sluice = spawn(folder(&config(upstream)), kept);
    sluice.wait_ready();
    assert_eq!(stamp_now(&sluice, upstream, "stamp").as_deref(), Some("one"));
    assert!(sluice.log().find("last_good").is_none(), "nothing is wrong");
    let (end, folder) = sluice.terminate_in();
    assert_eq!(end.code, 0, "{}", end.stderr);
    folder
}

/// All files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (entries, mut files) = (fs::read_dir(folder).unwrap(), Vec::new());
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

fn modules(kept: &Path) -> Vec<PathBuf> {
    files(&kept.join("modules"))
}

#[test]
fn a_broken_configuration_starts_what_served_last_and_comes_in_when_it_is_mended() {
    let (upstream, kept) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = after_a_good_start(&upstream, kept.path());
    let good = fs::read_to_string(folder.config()).unwrap();
    folder.write("config.yaml", good.replace("exporters: [otlp_grpc]", "exporters: [nobody]"));
    folder.write("tester.wasm", guests::tester("two"));
    let refused = run(&["run"], Some(&folder.config()));
    assert!(refused.code == 1 && refused.stderr.contains("`nobody`"), "{refused:?}");

    let sluice = spawn(folder, kept.path());
    sluice.wait_ready();
    let text = sluice.log().text();
    assert!(text.contains("config.yaml:") && text.contains("`nobody`"), "what is wrong is told as ever: {text}");
    let told = sluice.log().events("last_good");
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!(told["level"], "warn");
    assert!(told["sources"].as_str().unwrap().ends_with("config.yaml"), "{told}");
    let swap = &sluice.swaps(PLUGIN)[0];
    assert_eq!(told["plugins"], format!("{PLUGIN}={}", swap["to"].as_str().unwrap()));
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    assert_eq!(stamp_now(&sluice, &upstream, "secret").as_deref(), Some(SECRET), "as it is now");

    // Nothing but the configuration is mended.
    sluice.folder().write("config.yaml", &good);
    wait::until("the module that was given", || {
        sluice.swaps(PLUGIN).into_iter().skip(1).find(|swap| swap["outcome"] == "swapped")
    });
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(sluice.log().events("last_good").len(), 1);
    // From now on that is what served last, and the module before is not kept any longer.
    wait::until("it to be kept", || {
        let modules = modules(kept.path());
        (modules.len() == 1 && fs::read(&modules[0]).unwrap() == guests::tester("two")).then_some(())
    });
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_module_that_cannot_serve_starts_the_one_that_served_last() {
    let (upstream, kept) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = after_a_good_start(&upstream, kept.path());
    folder.write("tester.wasm", "no component");
    let refused = run(&["run"], Some(&folder.config()));
    assert!(refused.code == 1 && refused.stderr.contains("wasm/tester"), "{refused:?}");
    let sluice = spawn(folder, kept.path());
    sluice.wait_ready();
    assert_eq!(sluice.log().events("last_good").len(), 1, "{}", sluice.log().text());
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    // The configuration is the same all the time: only the module is mended.
    sluice.folder().write("tester.wasm", guests::tester("two"));
    wait::until("the module to serve", || {
        sluice.swaps(PLUGIN).into_iter().skip(1).find(|swap| swap["outcome"] == "swapped")
    });
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn what_is_kept_is_for_this_user_alone_and_without_what_variables_hold() {
    let (upstream, parent) = (Sink::start(), tempfile::tempdir().unwrap());
    let kept = parent.path().join("deep/kept");
    after_a_good_start(&upstream, &kept);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&kept), mode(&kept.join("modules"))], [0o700; 2]);
    let files = files(&kept);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        let bytes = fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&bytes, SECRET.as_bytes()).is_none(), "{}", file.display());
    }
}

/// Starts with a broken configuration and what is kept, which is of no use; gives what it says.
fn refused(folder: &Folder, kept: &Path) -> String {
    let output = run(&["run", "--last-good", kept.to_str().unwrap()], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("`nobody`"), "the first reason: {output:?}");
    output.stderr
}

#[test]
fn without_anything_that_can_be_used_both_reasons_are_told() {
    let (upstream, kept) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = after_a_good_start(&upstream, kept.path());
    let good = fs::read_to_string(folder.config()).unwrap();
    folder.write("config.yaml", good.replace("exporters: [otlp_grpc]", "exporters: [nobody]"));
    let nothing = tempfile::tempdir().unwrap();
    let told = refused(&folder, nothing.path());
    assert!(told.contains("no generation has been kept in") && told.contains("--last-good"), "{told}");

    let [module] = &modules(kept.path())[..] else { panic!("one module is kept") };
    let whole = fs::read(module).unwrap();
    fs::write(module, guests::tester("two")).unwrap();
    let told = refused(&folder, kept.path());
    assert!(told.contains("its sha256 is") && told.contains("cannot serve either"), "{told}");
    fs::write(module, whole).unwrap();

    let generation = kept.path().join("generation");
    let whole = fs::read_to_string(&generation).unwrap();
    fs::write(&generation, whole.replace("does: stamp", "does: drops")).unwrap();
    let told = refused(&folder, kept.path());
    assert!(told.contains("generation is damaged"), "{told}");

    fs::write(&generation, whole).unwrap();
    let sluice = spawn(folder, kept.path());
    sluice.wait_ready();
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn relative_paths_mean_the_same_from_another_folder() {
    let (upstream, kept) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = folder(&config(&upstream));
    folder.write("stamp", "{ does: stamp }");
    let yaml = fs::read_to_string(folder.config()).unwrap().replace("{ does: stamp }", "'${file:stamp}'");
    folder.write("config.yaml", yaml);
    let in_folder = |file: &str| {
        let mut command = command();
        command.current_dir(folder.path("")).args(["run", "--config", file, "--last-good"]).arg(kept.path());
        Sluice::spawn_command(command, Folder::new(""), &variables())
    };
    let first = in_folder("config.yaml");
    first.wait_ready();
    assert_eq!(first.terminate().code, 0);
    // Neither the process nor the configuration is where it was.
    let elsewhere = Folder::new("nonsense: 1\n");
    let sluice = spawn(elsewhere, kept.path());
    sluice.wait_ready();
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_module_that_is_tried_with_other_settings_is_not_kept_before_it_serves() {
    let (upstream, kept) = (Sink::start(), tempfile::tempdir().unwrap());
    let config = |module: &str, does: &str| {
        let plugin = format!("module: {module}\nconfig: {{ {does} }}\nrollout: {{ strategy: canary, for: 1h }}");
        let admin = "admin: { endpoint: '127.0.0.1:0', token_file: token }";
        Config::to(&upstream).extension("sluice", admin).processor(PLUGIN, &plugin)
    };
    let folder = folder(&config("tester.wasm", "does: stamp"));
    folder.write("token", "a token of this test\n");
    folder.write("other.wasm", guests::tester("two"));
    let sluice = spawn(folder, kept.path());
    sluice.wait_ready();
    let order = |path: &str| {
        let post = http::Post::json("").path(path).header("authorization", "Bearer a token of this test");
        assert_eq!(post.to(sluice.address("sluice", "http")).unwrap().status, 200);
    };
    let generation = || fs::read_to_string(kept.path().join("generation")).unwrap();
    let before = generation();
    sluice.rewrite(&config("other.wasm", "does: stamp, to: nobody"));
    assert_eq!(sluice.wait_swap(PLUGIN, 1)["outcome"], "candidate");
    // Whoever is answered knows that all before is done.
    order("/v1/reload");
    assert_eq!(generation(), before);
    order("/v1/plugins/wasm/tester/promote");
    assert!(generation().contains("other.wasm") && generation() != before, "what serves all is kept");
    assert_eq!(sluice.terminate().code, 0);
}
