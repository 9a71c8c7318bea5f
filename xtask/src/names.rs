//! The names of a module's functions, which backtraces show: as people write them, and not longer than anybody reads.
//! Mangled they are a tenth of a plugin.

use anyhow::Result;
use wasm_encoder::{NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload};

/// Bytes of a name. Those that are longer list the types of generic functions.
const MAX_BYTES: usize = 80;

/// The module with its functions' names demangled, their hashes left out. Names of other things are left out.
pub fn demangled(module: &[u8]) -> Result<Vec<u8>> {
    let mut out = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && let KnownCustom::Name(names) = section.as_known()
        {
            out.section(&functions(names)?);
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            out.section(&RawSection { id, data: module.get(range).unwrap_or_default() });
        }
    }
    Ok(out.finish())
}

fn functions(names: NameSectionReader<'_>) -> Result<NameSection> {
    let mut map = NameMap::new();
    for subsection in names {
        if let Name::Function(functions) = subsection? {
            for function in functions {
                let function = function?;
                map.append(function.index, &short(function.name));
            }
        }
    }
    let mut section = NameSection::new();
    section.functions(&map);
    Ok(section)
}

fn short(name: &str) -> String {
    let mut name = format!("{:#}", rustc_demangle::demangle(name));
    name.truncate(name.floor_char_boundary(MAX_BYTES));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mangled name and what it means, from the documentation of `rustc-demangle`; one that is none.
    #[test]
    fn names_are_written_as_people_write_them() {
        assert_eq!(short("_ZN3foo17h05af221e174051e9E"), "foo");
        assert_eq!(short("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(short("cabi_realloc"), "cabi_realloc");
        assert_eq!(short(&"é".repeat(100)).len(), MAX_BYTES);
    }

    /// One import and one function: all sections but the names stay as they are, and the code runs on.
    #[test]
    fn only_names_change() -> Result<()> {
        use wasm_encoder::{CodeSection, EntityType, Function, FunctionSection, ImportSection, Module, TypeSection};
        let built = |name: &str| {
            let (mut types, mut imports, mut functions) =
                (TypeSection::new(), ImportSection::new(), FunctionSection::new());
            types.ty().function([], []);
            imports.import("host", "log", EntityType::Function(0));
            functions.function(0);
            let mut code = CodeSection::new();
            let mut body = Function::new([]);
            body.instructions().call(0).end();
            code.function(&body);
            let mut map = NameMap::new();
            map.append(1, name);
            let mut names = NameSection::new();
            names.functions(&map);
            let mut module = Module::new();
            module.section(&types).section(&imports).section(&functions).section(&code).section(&names);
            module.finish()
        };
        assert_eq!(demangled(&built("_ZN3foo17h05af221e174051e9E"))?, built("foo"));
        Ok(())
    }
}
