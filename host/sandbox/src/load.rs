//! Loading: bytes to a module that can be prepared. Digest, size and contract are checked before
//! anything is compiled.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::abi::{BindingsPre, Host};
use crate::compile::{CompileError, compile};
use crate::engine::{Sandbox, Shared};
use crate::inspect::{NotAPlugin, inspect, validate};
use crate::limits::Limits;

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
    #[error("{name}: its sha256 is {found}, but {expected} is required")]
    Digest {
        /// The file or name.
        name: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
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

/// A plugin's code. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(crate) pre: BindingsPre<Host>,
    pub(crate) capabilities: Vec<String>,
    digest: String,
}

impl Module {
    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl Sandbox {
    /// Loads a plugin; `sha256`, in hex, pins it. Blocking: compiling takes from 50 ms to
    /// [`Limits::compile_timeout`], what is in the cache less than a millisecond.
    ///
    /// # Errors
    /// When it cannot be read, is not the pinned one, is not a plugin, or does not compile.
    pub fn load(&self, source: &Source, limits: &Limits, sha256: Option<&str>) -> Result<Module, LoadError> {
        match source {
            Source::File(path) => {
                let component = read(path, limits.component_bytes)?;
                self.module(&path.display().to_string(), &component, None, limits, sha256)
            }
            Source::Embedded { name, component, precompiled } => {
                self.module(name, component, Some(precompiled), limits, sha256)
            }
        }
    }

    fn module(
        &self,
        name: &str,
        component: &[u8],
        precompiled: Option<&[u8]>,
        limits: &Limits,
        sha256: Option<&str>,
    ) -> Result<Module, LoadError> {
        let name = || name.to_owned();
        let digest = hex(&Sha256::digest(component));
        if let Some(expected) = sha256.filter(|expected| !expected.eq_ignore_ascii_case(&digest)) {
            return Err(LoadError::Digest { name: name(), found: digest, expected: expected.to_owned() });
        }
        let capabilities = inspect(component).map_err(|reason| LoadError::NotAPlugin { name: name(), reason })?;
        let shared = &self.shared;
        let embedded = precompiled.and_then(|code| deserialize(shared, code).ok());
        let compiled = match embedded {
            Some(compiled) => compiled,
            None => cached_or_compiled(shared, &digest, component, limits).map_err(|error| match error {
                Failed::Check(reason) => LoadError::NotAPlugin { name: name(), reason },
                Failed::Compile(error) => LoadError::Compile { name: name(), error },
                Failed::Link(error) => LoadError::Link { name: name(), error },
            })?,
        };
        let link = |error| LoadError::Link { name: name(), error };
        let pre = shared.linker.instantiate_pre(&compiled).and_then(BindingsPre::new).map_err(link)?;
        Ok(Module { pre, capabilities, digest })
    }
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
    shared.cache.put(digest, &code);
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
    let file = fs::File::open(path).map_err(failed)?;
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
