//! Only the module that is meant, and of whom the operator trusts, ever runs.

use minisign::KeyPair;
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::sink::Sink;

use crate::guests;
use crate::swap::stamp_now;

fn signer() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn signature(signer: &KeyPair, module: &[u8]) -> String {
    minisign::sign(None, &signer.sk, module, None, None).unwrap().into_string()
}

/// A config that trusts this key alone, with a plugin of a file and one of the binary.
fn config(upstream: &Sink, key: &str, settings: &str) -> Config {
    let settings = format!("module: tester.wasm\nconfig: {{ does: stamp }}\n{settings}");
    Config::to(upstream)
        .extension("sluice", &format!("require_signed: true\ntrust: {{ keys: [{key}] }}"))
        .processor("wasm/tester", &settings)
        .processor("attributes", "actions: [{ key: bundled, value: yes, action: upsert }]")
}

fn refused(folder: &Folder) -> String {
    let output = run(&["validate"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{}", output.stderr);
    output.stderr
}

#[test]
fn a_module_without_a_good_signature_does_not_start() {
    let (upstream, signer) = (Sink::start(), signer());
    let key = signer.pk.to_base64();
    let folder = Folder::new(&config(&upstream, &key, "").yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let path = folder.path("tester.wasm.minisig").display().to_string();
    let missing = refused(&folder);
    assert!(missing.contains(&path) && missing.contains("`require_signed`"), "{missing}");
    folder.write("tester.wasm.minisig", signature(&signer, b"another module"));
    let wrong = refused(&folder);
    assert!(wrong.contains(&path) && wrong.contains(&key), "{wrong}");
    folder.write("tester.wasm.minisig", signature(&signer, &guests::tester("one")));
    assert_eq!(run(&["validate"], Some(&folder.config())).code, 0);
    // The plugin's own key is the only one that counts for it.
    let other = config(&upstream, &key, &format!("public_key: {}", self::signer().pk.to_base64()));
    folder.write("config.yaml", other.yaml());
    refused(&folder);
}

#[test]
fn an_unsigned_module_put_in_place_keeps_the_old_one() {
    let (upstream, signer) = (Sink::start(), signer());
    let folder = Folder::new(&config(&upstream, &signer.pk.to_base64(), "").yaml());
    let (one, two) = (guests::tester("one"), guests::tester("two"));
    folder.write("tester.wasm.minisig", signature(&signer, &one));
    folder.write("tester.wasm", &one);
    let sluice = Sluice::start_in(folder);
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    let seen = sluice.swaps("wasm/tester").len();
    sluice.folder().write("tester.wasm", &two);
    let swap = sluice.wait_swap("wasm/tester", seen);
    assert_eq!((&swap["outcome"], &swap["step"]), (&"failed".into(), &"verify".into()), "{swap}");
    assert!(swap["reason"].as_str().is_some_and(|reason| reason.contains("tester.wasm.minisig")), "{swap}");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    let failed = [("plugin", "wasm/tester"), ("outcome", "failed"), ("step", "verify")];
    assert!(sluice.metrics().sum("sluice_plugin_swaps_total", &failed) >= 1.0);
    let refused = [("plugin", "wasm/tester"), ("reason", "signature")];
    assert!(sluice.metrics().sum("sluice_plugin_refusals_total", &refused) >= 1.0);
    // The signature, once it is there, brings the module in.
    sluice.folder().write("tester.wasm.minisig", signature(&signer, &two));
    assert_eq!(sluice.wait_swap("wasm/tester", seen + 1)["outcome"], "swapped");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(stamp_now(&sluice, &upstream, "bundled").as_deref(), Some("yes"));
    // A key that is taken back counts no more, and what serves is not touched by that.
    let reloads = || sluice.swaps("wasm/tester").len();
    let before = reloads();
    sluice.rewrite(&config(&upstream, &self::signer().pk.to_base64(), ""));
    assert_eq!(sluice.wait_swap("wasm/tester", before)["outcome"], "failed");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(sluice.terminate().code, 0);
}
