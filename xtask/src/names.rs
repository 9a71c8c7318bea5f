//! The names of a module's functions, which backtraces show: as people write them, and not longer than anybody reads.
//! Mangled they are a tenth of a plugin, or a fifth of one that is compiled to be small.

use anyhow::Result;
use wasm_encoder::{NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload};

/// Bytes of a name.
const MAX_BYTES: usize = 60;

/// What the compiler makes to drop values.
const DROP: &str = "ptr::drop_in_place";

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
                let name = short(function.name);
                // There is one for every type, and all of them are called the same.
                if name != DROP {
                    map.append(function.index, &name);
                }
            }
        }
    }
    let mut section = NameSection::new();
    section.functions(&map);
    Ok(section)
}

/// What people call a function: of Rust's names the last two parts, without the types of generic functions.
fn short(name: &str) -> String {
    let mut name =
        rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| last_parts(&format!("{name:#}")));
    name.truncate(name.floor_char_boundary(MAX_BYTES));
    name
}

/// `Type::function` or `module::function`. `<Type as Trait>` is the type.
fn last_parts(path: &str) -> String {
    let mut parts = parts(path);
    let inner = if parts.iter().any(|part| part.starts_with("{closure") || part.starts_with("{{closure")) {
        "::{closure}"
    } else {
        ""
    };
    parts.retain(|part| !part.starts_with('{'));
    let last = parts.split_off(parts.len().saturating_sub(2));
    format!("{}{inner}", last.iter().map(|part| plain(part)).collect::<Vec<_>>().join("::"))
}

/// The parts of a path, types with their parameters.
fn parts(path: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut before) = (Vec::new(), 0, 0_usize, ' ');
    for (at, c) in path.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // Not the arrow of a function's type.
            '>' if before != '-' => depth = depth.saturating_sub(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && before == ':' => {
                parts.extend(path.get(start..at - 1));
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.extend(path.get(start..));
    // Behind a function's name its parameters are a part of their own.
    let mut is_first = true;
    parts.retain(|part| std::mem::take(&mut is_first) || !part.starts_with('<') || part.starts_with("<impl "));
    parts
}

/// A part of a path without parameters: `Vec<T>` is `Vec`, `<a::B<T> as c::D>` is `B`.
fn plain(part: &str) -> String {
    let Some(inner) = part.strip_prefix('<').and_then(|part| part.strip_suffix('>')) else {
        return part.split('<').next().unwrap_or_default().to_owned();
    };
    let inner = inner.strip_prefix("impl ").map_or(inner, |of| of.rsplit(" for ").next().unwrap_or(of));
    let kind = inner.split(" as ").next().unwrap_or(inner);
    let kind = kind.trim_start_matches(['&', '*']).trim_start_matches("mut ").trim_start_matches("const ");
    parts(kind.trim_start_matches("dyn ")).last().map(|last| plain(last)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mangled names and what they mean, from the documentation of `rustc-demangle`; one that is none.
    #[test]
    fn names_are_written_as_people_write_them() {
        assert_eq!(short("_ZN3foo17h05af221e174051e9E"), "foo");
        assert_eq!(short("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(short("cabi_realloc"), "cabi_realloc");
        assert_eq!(short("std::map<int, int>::find"), "std::map<int, int>::find");
        assert_eq!(short(&"é".repeat(100)).len(), MAX_BYTES);
    }

    #[test]
    fn modules_and_parameters_are_left_out() {
        let cases = [
            ("core::panicking::panic_fmt", "panicking::panic_fmt"),
            ("main", "main"),
            ("<a::b::Plugin as sdk::Guest>::process", "Plugin::process"),
            ("<&mut json::Reader<R> as serde::Deserializer>::deserialize_map", "Reader::deserialize_map"),
            ("core::ptr::drop_in_place<alloc::vec::Vec<a::B>>", "ptr::drop_in_place"),
            ("alloc::vec::Vec<T,A>::push", "Vec::push"),
            ("a::calls::<impl a::parser::Parser>::predicate", "Parser::predicate"),
            ("a::b::<impl c::From<d::E> for f::G>::from", "G::from"),
            ("a::B::read::{{closure}}::{{closure}}", "B::read::{closure}"),
            ("a::call::<fn(a::B) -> c::D>", "a::call"),
            ("<[T] as a::ToOwned>::to_owned", "[T]::to_owned"),
        ];
        for (path, expected) in cases {
            assert_eq!(last_parts(path), expected, "{path}");
        }
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
        let unnamed = demangled(&built("_ZN4core3ptr13drop_in_place17h05af221e174051e9E"))?;
        assert_eq!(unnamed.len(), built("").len() - 2);
        Ok(())
    }
}
