//! WASI for the profile `compat`: what the runtimes of some languages insist on importing, and none of what
//! it is for.
//!
//! Every function answers by its own type: an error where it can say one, else nothing (an empty list, no
//! value, zero, a handle of nothing). So there are no files, no environment, no network, no arguments, no
//! input, and output is refused; it is always 1970. What programs wait for or choose by is made up ([`MadeUp`]). A
//! call counts as any call into the host does. Leaving the program is a trap.

use sluice_state::Random;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut, bail};

use super::Host;

/// What the names of WASI's interfaces begin with.
pub(crate) const PREFIX: &str = "wasi:";

/// By how much each look at the monotonic clock moves it, in nanoseconds.
const STEP_NANOS: u64 = 100_000_000;

/// The seed of the random numbers. Its sequence is published with the generator.
const SEED: u64 = 1_234_567;

/// Random bytes that one call gives.
const RANDOM_BYTES: u64 = 1 << 16;

/// How WASI's interfaces say no, by preference.
const REFUSALS: [&str; 7] =
    ["access", "access-denied", "not-permitted", "not-supported", "closed", "unsupported", "internal-error"];

/// What any handle stands for.
struct Nothing;

/// What one instance is told where nothing would keep it from going on: the same as every other is told, whatever the
/// world is like.
pub(crate) struct MadeUp {
    /// What the monotonic clock shows. It moves when it is looked at, so that who waits for a time goes on.
    nanos: u64,
    /// Not all zero, so that who tries until a number fits goes on.
    random: Random,
}

impl Default for MadeUp {
    fn default() -> Self {
        Self { nanos: 0, random: Random::seeded(SEED) }
    }
}

/// Gives a component what it imports of WASI.
pub(crate) fn deny(linker: &mut Linker<Host>, engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else { continue };
        let Some(name) = interface.strip_prefix(PREFIX) else { continue };
        // `cli/environment`, of whatever version.
        let name = name.split('@').next().unwrap_or(name).to_owned();
        let mut stub = linker.instance(interface)?;
        for (item, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => function(&mut stub, &name, item)?,
                ComponentItem::Resource(_) => stub.resource(item, ResourceType::host::<Nothing>(), |_, _| Ok(()))?,
                ComponentItem::Type(_) => {}
                _ => bail!("it imports `{item}` of `{interface}`, which is neither a function nor a type"),
            }
        }
    }
    Ok(())
}

fn function(stub: &mut LinkerInstance<'_, Host>, interface: &str, name: &str) -> wasmtime::Result<()> {
    let called = format!("{interface} {name}");
    stub.func_new(name, move |mut store, ty, arguments, results| {
        store.data_mut().enter_wasi()?;
        for argument in arguments {
            give_back(&mut store, argument)?;
        }
        if called.starts_with("cli/exit ") {
            bail!("the program left");
        }
        let Some(result) = results.first_mut() else { return Ok(()) };
        *result = match given(&mut store.data_mut().made_up, &called, arguments)? {
            Some(given) => given,
            None => nothing_of(&mut store, &ty)?,
        };
        Ok(())
    })
}

/// Lets go of the handles in a value: the guest lent them, or gave them away.
fn give_back(store: &mut StoreContextMut<'_, Host>, value: &Val) -> wasmtime::Result<()> {
    match value {
        Val::Resource(handle) => handle.resource_drop(&mut *store),
        Val::List(values) | Val::Tuple(values) => values.iter().try_for_each(|value| give_back(store, value)),
        Val::Record(fields) => fields.iter().try_for_each(|(_, value)| give_back(store, value)),
        Val::Variant(_, Some(value)) | Val::Option(Some(value)) | Val::Result(Ok(Some(value)) | Err(Some(value))) => {
            give_back(store, value)
        }
        _ => Ok(()),
    }
}

/// What is made up.
fn given(made_up: &mut MadeUp, called: &str, arguments: &[Val]) -> wasmtime::Result<Option<Val>> {
    Ok(Some(match called {
        "clocks/monotonic-clock now" => {
            made_up.nanos += STEP_NANOS;
            Val::U64(made_up.nanos)
        }
        "clocks/monotonic-clock resolution" => Val::U64(STEP_NANOS),
        "random/random get-random-bytes" | "random/insecure get-insecure-random-bytes" => {
            let Some(&Val::U64(count)) = arguments.first() else { bail!("`{called}` takes a number") };
            if count > RANDOM_BYTES {
                bail!("`{called}` gives at most {RANDOM_BYTES} bytes");
            }
            let numbers = (0..count.div_ceil(8)).flat_map(|_| made_up.random.number().to_le_bytes());
            Val::List(numbers.take(count as usize).map(Val::U8).collect())
        }
        "random/random get-random-u64" | "random/insecure get-insecure-random-u64" => Val::U64(made_up.random.number()),
        "random/insecure-seed insecure-seed" => {
            Val::Tuple(vec![Val::U64(made_up.random.number()), Val::U64(made_up.random.number())])
        }
        _ => return Ok(None),
    }))
}

fn nothing_of(store: &mut StoreContextMut<'_, Host>, ty: &ComponentFunc) -> wasmtime::Result<Val> {
    match ty.results().next() {
        Some(result) => nothing(store, &result),
        None => bail!("a function without a result was asked for one"),
    }
}

/// An error if there is one of this type, else as little as can be said.
fn nothing(store: &mut StoreContextMut<'_, Host>, ty: &Type) -> wasmtime::Result<Val> {
    let mut boxed = |ty: Option<Type>| ty.map(|ty| nothing(store, &ty).map(Box::new)).transpose();
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Result(result) => match (result.err(), result.ok()) {
            (None, Some(ok)) => Val::Result(Ok(boxed(Some(ok))?)),
            (err, _) => Val::Result(Err(boxed(err)?)),
        },
        Type::Enum(cases) => Val::Enum(refusal(cases.names()).to_owned()),
        Type::Variant(variant) => {
            let chosen = refusal(variant.cases().map(|case| case.name));
            let payload = variant.cases().find(|case| case.name == chosen).and_then(|case| case.ty);
            Val::Variant(chosen.to_owned(), boxed(payload)?)
        }
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| nothing(store, &ty)).collect::<wasmtime::Result<_>>()?),
        Type::Record(record) => {
            let fields = record.fields().map(|field| Ok((field.name.to_owned(), nothing(store, &field.ty)?)));
            Val::Record(fields.collect::<wasmtime::Result<_>>()?)
        }
        Type::Own(_) => Val::Resource(ResourceAny::try_from_resource(Resource::<Nothing>::new_own(0), &mut *store)?),
        _ => bail!("a function of WASI that has no answer here was called"),
    })
}

/// The case that says no; the first one if none does.
fn refusal<'c>(cases: impl Iterator<Item = &'c str>) -> &'c str {
    let cases: Vec<_> = cases.collect();
    let known = REFUSALS.iter().find_map(|refusal| cases.iter().find(|case| *case == refusal));
    known.or(cases.first()).copied().unwrap_or_default()
}
