//! A module must be the one that is meant, and of whom the operator trusts, before it is looked at.

use std::fs;
use std::path::PathBuf;

use minisign::KeyPair;
use sluice_sandbox::{Limits, LoadError, Provenance, PublicKey, Source, Trust, Untrusted};

use crate::guest::Guest;
use crate::stage::sandbox;

/// A folder with a module, and perhaps a signature beside it.
struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    fn new(module: &[u8]) -> Self {
        let shelf = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(shelf.module(), module).unwrap();
        shelf
    }

    fn module(&self) -> PathBuf {
        self.folder.path().join("guest.wasm")
    }

    fn sign(&self, signer: &KeyPair) {
        let signature = minisign::sign(None, &signer.sk, fs::File::open(self.module()).unwrap(), None, None).unwrap();
        self.put(signature.into_string());
    }

    fn put(&self, signature: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join("guest.wasm.minisig"), signature).unwrap();
    }

    fn verify(&self, trust: &Trust) -> Result<Provenance, LoadError> {
        let sandbox = sandbox();
        let verified = sandbox.verify(&Source::File(self.module()), &Limits::default(), trust)?;
        Ok(sandbox.compile(verified, &Limits::default())?.provenance().clone())
    }

    fn untrusted(&self, trust: &Trust) -> Untrusted {
        match self.verify(trust) {
            Err(LoadError::Untrusted { reason, path }) => {
                assert_eq!(path, self.module());
                reason
            }
            other => panic!("{other:?}"),
        }
    }
}

fn signer() -> (KeyPair, PublicKey) {
    let signer = KeyPair::generate_unencrypted_keypair().unwrap();
    let key = PublicKey::parse(&signer.pk.to_base64()).unwrap();
    (signer, key)
}

fn any_of(keys: &[&PublicKey]) -> Trust {
    Trust { keys: keys.iter().map(|&key| key.clone()).collect(), require_signed: true, ..Trust::default() }
}

#[test]
fn a_module_signed_with_any_trusted_key_is_taken() {
    let ((ours, our_key), (_, other_key)) = (signer(), signer());
    let shelf = Shelf::new(&Guest::new().component());
    shelf.sign(&ours);
    let taken = Provenance::Signed(our_key.clone());
    assert_eq!(shelf.verify(&any_of(&[&other_key, &our_key])).unwrap(), taken);
    let only = |key: &PublicKey| Trust { public_key: Some(key.clone()), ..any_of(&[&our_key]) };
    assert_eq!(shelf.verify(&only(&our_key)).unwrap(), taken);
    // A plugin's own key is the only one that counts for it.
    assert!(matches!(shelf.untrusted(&only(&other_key)), Untrusted::Wrong { .. }));
}

#[test]
fn a_missing_foreign_or_broken_signature_is_refused_by_name() {
    let ((ours, our_key), (stranger, _)) = (signer(), signer());
    let shelf = Shelf::new(&Guest::new().component());
    let trust = any_of(&[&our_key]);
    let missing = shelf.untrusted(&trust).to_string();
    assert!(missing.contains("`require_signed`") && missing.contains("guest.wasm.minisig"), "{missing}");
    let own = Trust { public_key: Some(our_key.clone()), ..Trust::default() };
    assert!(shelf.untrusted(&own).to_string().contains("`public_key`"));
    shelf.sign(&stranger);
    let foreign = shelf.untrusted(&trust).to_string();
    assert!(foreign.contains(&our_key.to_string()), "{foreign}");
    for broken in [&b""[..], b"no signature", &[0xff; 100]] {
        shelf.put(broken);
        assert!(matches!(shelf.untrusted(&trust), Untrusted::NotASignature { .. }));
    }
    shelf.sign(&ours);
    assert!(shelf.verify(&trust).is_ok());
}

#[test]
fn a_signature_is_of_these_bytes_and_of_its_comment() {
    let (ours, our_key) = signer();
    let component = Guest::new().component();
    let shelf = Shelf::new(&component);
    shelf.sign(&ours);
    let text = fs::read_to_string(shelf.folder.path().join("guest.wasm.minisig")).unwrap();
    shelf.put(text.replace("trusted comment: timestamp", "trusted comment: Timestamp"));
    assert!(matches!(shelf.untrusted(&any_of(&[&our_key])), Untrusted::Wrong { .. }));
    shelf.put(&text);
    assert!(shelf.verify(&any_of(&[&our_key])).is_ok());
    fs::write(shelf.module(), Guest::new().traits(1).component()).unwrap();
    assert!(matches!(shelf.untrusted(&any_of(&[&our_key])), Untrusted::Wrong { .. }));
}

#[test]
fn without_a_duty_to_sign_only_a_wrong_signature_is_refused() {
    let ((ours, our_key), (stranger, _)) = (signer(), signer());
    let shelf = Shelf::new(&Guest::new().component());
    let known = Trust { keys: vec![our_key.clone()], ..Trust::default() };
    assert_eq!(shelf.verify(&known).unwrap(), Provenance::Unsigned);
    shelf.sign(&ours);
    assert_eq!(shelf.verify(&known).unwrap(), Provenance::Signed(our_key));
    shelf.sign(&stranger);
    assert!(matches!(shelf.untrusted(&known), Untrusted::Wrong { .. }));
    assert_eq!(shelf.verify(&Trust::default()).unwrap(), Provenance::Unsigned, "no key, nothing to check");
    let keyless = Trust { require_signed: true, ..Trust::default() };
    assert!(matches!(shelf.untrusted(&keyless), Untrusted::NoKey));
}

#[test]
fn what_is_in_the_binary_needs_no_signature() {
    let source = Source::Embedded { name: "guest", component: Guest::new().component().leak(), precompiled: b"" };
    let trust = Trust { require_signed: true, ..Trust::default() };
    assert!(sandbox().verify(&source, &Limits::default(), &trust).is_ok());
}

#[test]
fn digest_and_signature_come_before_the_contract() {
    let (_, our_key) = signer();
    let shelf = Shelf::new(b"no component");
    let pinned = Trust { sha256: Some("0".repeat(64)), ..any_of(&[&our_key]) };
    assert!(matches!(shelf.verify(&pinned), Err(LoadError::Digest { .. })));
    assert!(matches!(shelf.untrusted(&any_of(&[&our_key])), Untrusted::Missing { .. }));
    assert!(matches!(shelf.verify(&Trust::default()), Err(LoadError::NotAPlugin { .. })));
}

/// Key and signatures of the four bytes `test` that minisign has made, as the documentation of its
/// Rust libraries has them: one of today's kind, and one over the file itself.
#[test]
fn signatures_of_minisign_itself_are_understood() {
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let prehashed = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";
    let legacy = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";
    let trust = any_of(&[&PublicKey::parse(key).unwrap()]);
    for signature in [prehashed, legacy] {
        let shelf = Shelf::new(b"test");
        shelf.put(signature);
        // What is signed is believed, and only then looked at.
        assert!(matches!(shelf.verify(&trust), Err(LoadError::NotAPlugin { .. })));
        fs::write(shelf.module(), b"Test").unwrap();
        assert!(matches!(shelf.untrusted(&trust), Untrusted::Wrong { .. }));
    }
}

#[test]
fn a_text_that_is_no_key_is_refused() {
    for text in ["", "RW", "untrusted comment: minisign public key", &"A".repeat(56)] {
        assert!(PublicKey::parse(text).is_err(), "{text}");
    }
}
