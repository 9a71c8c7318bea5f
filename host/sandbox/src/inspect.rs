//! Looks at a component before anything is compiled: is it one, does it speak our contract, does
//! it want what we do not have.

use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload, Validator};

use crate::abi::{VERSION, wasi};
use crate::capability::Capability;
use crate::trust::Profile;

/// What WebAssembly begins with.
const MAGIC: &[u8] = b"\0asm";
const PACKAGE: &str = "sluice:plugin/";
/// Interfaces that need no capability.
const ALWAYS: [&str; 3] = ["batches", "columns", "lifecycle"];
const EXPORTS: [&str; 6] = ["describe", "configure", "process", "flush", "snapshot", "restore"];
/// What tells a plugin of the world `trace-policy`.
const DECIDES: &str = "decide";

/// What a component imports of the contract, and beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imports {
    /// The capabilities whose interfaces it imports.
    pub capabilities: Vec<String>,
    /// The interfaces of WASI, with their versions; none under the profile `pure`.
    pub wasi: Vec<String>,
}

/// Why a file is not a plugin of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlugin {
    /// No WebAssembly.
    #[error("it is not a WebAssembly component: {0}")]
    NotWasm(String),
    /// WebAssembly that is not valid.
    #[error("it is not valid WebAssembly: {0}")]
    Invalid(String),
    /// A core module.
    #[error(
        "it is a core WebAssembly module, not a component: make one of it with `cargo xtask componentize IN.wasm OUT.wasm`"
    )]
    CoreModule,
    /// Another version of the contract.
    #[error(
        "it was built for the contract sluice:plugin@{found}; this version of Sluice speaks {VERSION}: build it with a fitting SDK"
    )]
    Version {
        /// The version that it imports.
        found: String,
    },
    /// An import that no host of ours has.
    #[error("it imports `{0}`, which Sluice does not provide{hint}", hint = if .0.starts_with(wasi::PREFIX) { ": build for wasm32-unknown-unknown, which needs no WASI, or set `profile: compat`, under which WASI denies everything" } else { "" })]
    Import(String),
    /// A plugin of the contract's other world.
    #[error(
        "it is of the world `trace-policy`, which decides on whole traces: this version of Sluice runs plugins of the world `processor`"
    )]
    TracePolicy,
    /// An export is missing.
    #[error("it does not export `{0}`: is it built for the world `processor` of sluice:plugin@{VERSION}?")]
    Export(&'static str),
}

impl NotAPlugin {
    /// The word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::NotWasm(_) | Self::CoreModule => "not_a_component",
            Self::Invalid(_) => "invalid",
            Self::Version { .. } | Self::TracePolicy | Self::Export(_) => "contract",
            Self::Import(_) => "imports",
        }
    }
}

/// Checks every byte of a component. wasmtime's compiler does so as well, but is the larger thing to
/// hand unchecked bytes to.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), NotAPlugin> {
    Validator::new().validate_all(bytes).map(drop).map_err(|error| NotAPlugin::Invalid(error.to_string()))
}

/// Checks the component; gives what it imports.
pub(crate) fn inspect(bytes: &[u8], profile: Profile) -> Result<Imports, NotAPlugin> {
    // The parser tells so as well, but with a dump of the bytes over ten lines.
    if !bytes.starts_with(MAGIC) {
        return Err(NotAPlugin::NotWasm("it does not begin with `\\0asm`".to_owned()));
    }
    let not_wasm = |error: wasmparser::BinaryReaderError| NotAPlugin::NotWasm(error.to_string());
    let (mut depth, mut found, mut exports) = (0_usize, Imports::default(), Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(NotAPlugin::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(not_wasm)?;
                    // The types that the world uses come as imports of their own; the interface
                    // that they belong to is an import, too.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        found.take(import.name.name, profile)?;
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(not_wasm)?.name.name);
                }
            }
            _ => {}
        }
    }
    match EXPORTS.into_iter().find(|name| !exports.contains(name)) {
        Some(_) if exports.contains(&DECIDES) => Err(NotAPlugin::TracePolicy),
        Some(missing) => Err(NotAPlugin::Export(missing)),
        None => Ok(found),
    }
}

impl Imports {
    /// Takes an import, if it may be.
    fn take(&mut self, name: &str, profile: Profile) -> Result<(), NotAPlugin> {
        if profile == Profile::Compat && name.starts_with(wasi::PREFIX) {
            self.wasi.push(name.to_owned());
            return Ok(());
        }
        let unknown = || NotAPlugin::Import(name.to_owned());
        let (interface, version) =
            name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')).ok_or_else(unknown)?;
        if version != VERSION {
            return Err(NotAPlugin::Version { found: version.to_owned() });
        }
        if Capability::named(interface).is_some() {
            self.capabilities.push(interface.to_owned());
            return Ok(());
        }
        if ALWAYS.contains(&interface) { Ok(()) } else { Err(unknown()) }
    }
}
