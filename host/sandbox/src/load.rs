//! Loading: bytes to a module that can be prepared. Size, digest, signature, imports and contract are
//! checked, in this order, before anything is compiled.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::yield_now;

use sha2::{Digest, Sha256};
use sluice_state::open_regular;
use wasmtime::component::Component;

use crate::abi::{BindingsPre, Host, VERSION, wasi};
use crate::compile::{CompileError, compile};
use crate::engine::{Sandbox, Shared};
use crate::inspect::{Imports, NotAPlugin, inspect, validate};
use crate::limits::Limits;
use crate::trust::{Profile, Provenance, Trust, Untrusted};

/// Where a plugin comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A component in a file.
    File(PathBuf),
    /// A component in this binary, with its code for any machine of this architecture.
    Embedded {
        /// Its name, for messages.
        name: &'static str,
        /// The component.
        component: &'static [u8],
        /// What [`crate::precompile`] made of it.
        precompiled: &'static [u8],
    },
}

/// Why a plugin was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too large to be looked at.
    #[error("{} has {found} bytes, more than the limit of {limit} (limits.component_mib)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not the pinned one.
    #[error(
        "{name}: its sha256 is {found}, but `sha256` asks for {expected}: put that module in place, or change `sha256` if this one is meant"
    )]
    Digest {
        /// The file or name.
        name: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// Its signature is missing or wrong.
    #[error("{}: {reason}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Untrusted,
    },
    /// It is not a plugin for this host.
    #[error("{name}: {reason}")]
    NotAPlugin {
        /// The file or name.
        name: String,
        /// Why.
        reason: NotAPlugin,
    },
    /// It does not compile.
    #[error("{name}: {error}")]
    Compile {
        /// The file or name.
        name: String,
        /// Why.
        error: CompileError,
    },
    /// wasmtime does not take it after all.
    #[error("{name}: {error:#}")]
    Link {
        /// The file or name.
        name: String,
        /// Why.
        error: wasmtime::Error,
    },
}

impl LoadError {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::TooLarge { .. } => "size",
            Self::Digest { .. } => "digest",
            Self::Untrusted { .. } => "signature",
            Self::NotAPlugin { reason, .. } => reason.as_str(),
            Self::Compile { error, .. } => error.as_str(),
            Self::Link { .. } => "invalid",
        }
    }
}

/// A component that has passed all checks that do not run it.
pub struct Verified {
    name: String,
    component: Cow<'static, [u8]>,
    precompiled: Option<&'static [u8]>,
    digest: String,
    provenance: Provenance,
    imports: Imports,
    profile: Profile,
}

impl Verified {
    /// The component.
    pub fn component(&self) -> &[u8] {
        &self.component
    }

    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A plugin's code. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(crate) pre: BindingsPre<Host>,
    imports: Imports,
    digest: String,
    provenance: Provenance,
    bytes: usize,
}

impl Module {
    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Why it is trusted.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The component's size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The version of the contract that it speaks.
    pub fn contract(&self) -> &'static str {
        VERSION
    }

    /// What it imports.
    pub fn imports(&self) -> &Imports {
        &self.imports
    }
}

impl Sandbox {
    /// Loads a plugin; `sha256`, in hex, pins it. Blocking: compiling takes from 50 ms to
    /// [`Limits::compile_timeout`], what is in the cache less than a millisecond.
    ///
    /// # Errors
    /// When it cannot be read, is not the pinned one, is not a plugin, or does not compile.
    pub fn load(&self, source: &Source, limits: &Limits, sha256: Option<&str>) -> Result<Module, LoadError> {
        let trust = Trust { sha256: sha256.map(str::to_owned), ..Trust::default() };
        self.compile(self.verify(source, limits, &trust)?, limits)
    }

    /// Reads a component and checks all that can be checked without running it. Blocking: some
    /// milliseconds a megabyte.
    ///
    /// # Errors
    /// When it cannot be read, is too large, is not the pinned one, is not signed as it must be, or is
    /// not a plugin.
    pub fn verify(&self, source: &Source, limits: &Limits, trust: &Trust) -> Result<Verified, LoadError> {
        let (name, component, precompiled) = match source {
            Source::File(path) => (path.display().to_string(), Cow::Owned(read(path, limits.component_bytes)?), None),
            Source::Embedded { name, component, precompiled } => {
                ((*name).to_owned(), Cow::Borrowed(*component), Some(*precompiled))
            }
        };
        let digest = hex(&Sha256::digest(&component));
        if let Some(expected) = trust.sha256.as_deref().filter(|expected| !expected.eq_ignore_ascii_case(&digest)) {
            return Err(LoadError::Digest { name, found: digest, expected: expected.to_owned() });
        }
        let provenance = match source {
            Source::File(path) => {
                trust.verify(path, &component).map_err(|reason| LoadError::Untrusted { path: path.clone(), reason })?
            }
            Source::Embedded { .. } => Provenance::Bundled,
        };
        match inspect(&component, trust.profile) {
            Ok(imports) => {
                Ok(Verified { name, component, precompiled, digest, provenance, imports, profile: trust.profile })
            }
            Err(reason) => Err(LoadError::NotAPlugin { name, reason }),
        }
    }

    /// Compiles a component, or takes its code from the cache. Blocking, as [`Sandbox::load`].
    ///
    /// # Errors
    /// When it does not compile.
    pub fn compile(&self, verified: Verified, limits: &Limits) -> Result<Module, LoadError> {
        let Verified { name, component, precompiled, digest, provenance, imports, profile } = verified;
        let shared = &self.shared;
        let embedded = precompiled.and_then(|code| deserialize(shared, code).ok());
        let compiled = match embedded.map_or_else(|| cached_or_compiled(shared, &digest, &component, limits), Ok) {
            Ok(compiled) => compiled,
            Err(Failed::Check(reason)) => return Err(LoadError::NotAPlugin { name, reason }),
            Err(Failed::Compile(error)) => return Err(LoadError::Compile { name, error }),
            Err(Failed::Link(error)) => return Err(LoadError::Link { name, error }),
        };
        match link(shared, &compiled, profile) {
            Ok(pre) => Ok(Module { pre, imports, digest, provenance, bytes: component.len() }),
            Err(error) => Err(LoadError::Link { name, error }),
        }
    }
}

fn link(shared: &Shared, compiled: &Component, profile: Profile) -> wasmtime::Result<BindingsPre<Host>> {
    let pre = match profile {
        Profile::Pure => shared.linker.instantiate_pre(compiled)?,
        Profile::Compat => {
            let mut linker = shared.linker.clone();
            wasi::deny(&mut linker, &shared.engine, compiled)?;
            linker.instantiate_pre(compiled)?
        }
    };
    BindingsPre::new(pre)
}

enum Failed {
    Check(NotAPlugin),
    Compile(CompileError),
    Link(wasmtime::Error),
}

fn cached_or_compiled(shared: &Shared, digest: &str, component: &[u8], limits: &Limits) -> Result<Component, Failed> {
    if let Some(component) = shared.cache.get(digest).and_then(|code| deserialize(shared, &code).ok()) {
        return Ok(component);
    }
    validate(component).map_err(Failed::Check)?;
    let code = compile(shared, component, limits.compile_timeout).map_err(Failed::Compile)?;
    // Each of these takes some of a millisecond; whoever serves and wants to run is not to wait for all of them.
    yield_now();
    shared.cache.put(digest, &code);
    yield_now();
    deserialize(shared, &code).map_err(Failed::Link)
}

fn deserialize(shared: &Shared, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code was written by wasmtime's compiler and nobody else could have changed it:
    // it is embedded in this binary, comes from our own child through a file in a folder that only
    // this user may enter, or from an entry there whose digest has been checked. wasmtime itself
    // refuses code of another version, machine or setting.
    unsafe { Component::deserialize(&shared.engine, code) }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Read { path: path.to_owned(), error };
    let too_large = |found| LoadError::TooLarge { path: path.to_owned(), found, limit: most };
    let file = open_regular(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > most {
        return Err(too_large(size));
    }
    // The file may grow after it was asked for its size.
    let mut component = Vec::new();
    file.take(most + 1).read_to_end(&mut component).map_err(failed)?;
    if component.len() as u64 > most { Err(too_large(component.len() as u64)) } else { Ok(component) }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
