//! Trust: is a module the one that is meant, and does it come from whom the operator trusts?
//!
//! A signature is minisign's: an ed25519 signature in a text file beside the module, `x.wasm.minisig`
//! for `x.wasm`. The module is in memory when it is verified, and what is verified is what is run.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use minisign_verify::Signature;
use sluice_state::open_regular;

/// The bytes of a signature's file that are looked at; minisign writes some 300.
const SIGNATURE_BYTES: u64 = 16 << 10;

/// What a signature's file is called: this behind the module's name.
const SUFFIX: &str = ".minisig";

/// A key that modules may be signed with: the line that `minisign -G` shows, `RW…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    text: String,
    key: minisign_verify::PublicKey,
}

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no minisign public key: write the line of 56 characters that begins with `RW`")]
pub struct BadKey;

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| BadKey)?;
        Ok(Self { text: text.to_owned(), key })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a module may import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// The contract, and nothing else.
    #[default]
    Pure,
    /// WASI as well, which answers every call with an error or with nothing.
    Compat,
}

/// What a module must prove before it is looked at any further.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The SHA-256 that it must have, in hex.
    pub sha256: Option<String>,
    /// The only key that it may be signed with; it must be signed, then.
    pub public_key: Option<PublicKey>,
    /// The keys that any module may be signed with.
    pub keys: Vec<PublicKey>,
    /// Whether a module from a file must be signed. What is in the binary is trusted as the binary is.
    pub require_signed: bool,
    /// What it may import.
    pub profile: Profile,
}

/// Why a module is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// It is in this binary.
    Bundled,
    /// It is signed with this key.
    Signed(PublicKey),
    /// Nobody asked for a signature, and there is none or no key to check it with.
    Unsigned,
}

/// Why a module is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// There is no signature.
    #[error("it must be signed ({}), but there is no signature {}: sign it with `minisign -S -m {}`", required_by, signature.display(), module.display())]
    Missing {
        /// The key of the configuration that asks for one.
        required_by: &'static str,
        /// The module's file.
        module: PathBuf,
        /// Where the signature should be.
        signature: PathBuf,
    },
    /// No key is known.
    #[error(
        "it must be signed (`require_signed`), but no key is known: name one in `trust: {{ keys }}` of the extension `sluice`, or as its `public_key`"
    )]
    NoKey,
    /// The signature cannot be read.
    #[error("cannot read its signature {}: {error}", signature.display())]
    Read {
        /// Where the signature is.
        signature: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file beside it is no signature.
    #[error("{} is no minisign signature: sign it with `minisign -S -m {}`", signature.display(), module.display())]
    NotASignature {
        /// The module's file.
        module: PathBuf,
        /// Where the signature should be.
        signature: PathBuf,
    },
    /// The signature is of another key, or of other bytes.
    #[error("its signature {} is not of these bytes by {expected}: sign it anew, or correct the key if that signer is meant", signature.display())]
    Wrong {
        /// Where the signature is.
        signature: PathBuf,
        /// The keys that were tried.
        expected: String,
    },
}

impl Trust {
    /// Checks the signature of a module that was read from `path`.
    pub(crate) fn verify(&self, path: &Path, module: &[u8]) -> Result<Provenance, Untrusted> {
        let keys = self.public_key.as_ref().map_or(self.keys.as_slice(), std::slice::from_ref);
        let required_by = match (&self.public_key, self.require_signed) {
            (Some(_), _) => Some("`public_key`"),
            (None, true) if keys.is_empty() => return Err(Untrusted::NoKey),
            (None, true) => Some("`require_signed`"),
            (None, false) => None,
        };
        if keys.is_empty() {
            return Ok(Provenance::Unsigned);
        }
        let signature = signature_of(path);
        let text = match read_signature(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(required_by) = required_by else { return Ok(Provenance::Unsigned) };
                return Err(Untrusted::Missing { required_by, module: path.to_owned(), signature });
            }
            Err(error) => return Err(Untrusted::Read { signature, error }),
        };
        let Some(signed) = String::from_utf8(text).ok().and_then(|text| Signature::decode(&text).ok()) else {
            return Err(Untrusted::NotASignature { module: path.to_owned(), signature });
        };
        // Minisign still takes the signatures of before 2020, which are over the file and not its
        // hash; they are as good.
        if let Some(key) = keys.iter().find(|key| key.key.verify(module, &signed, true).is_ok()) {
            return Ok(Provenance::Signed(key.clone()));
        }
        let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
        Err(Untrusted::Wrong { signature, expected: names.join(" or ") })
    }
}

/// The file of a module's signature.
pub fn signature_of(module: &Path) -> PathBuf {
    let mut name = OsString::from(module);
    name.push(SUFFIX);
    PathBuf::from(name)
}

/// What is in the file of a module's signature, as far as it is looked at.
///
/// # Errors
/// When it cannot be read.
pub fn read_signature(module: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open_regular(&signature_of(module))?.take(SIGNATURE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}
