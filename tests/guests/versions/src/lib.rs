//! A plugin that marks every span. What it does, its mark and its version stand in a block of bytes
//! that the swap soak (`tests/src/soak/swaps`) replaces in the built component, so that hundreds of
//! versions cost one build.

use serde::Deserialize;
use sluice_sdk::prelude::*;

/// Deed, mark and version, of fixed lengths. The words before them are how the soak finds it.
static BLOCK: [u8; 48] = *b"sluice-soak deed=stamp mark=00000000 version=000";

/// The call of one instance in which a late version spins: more calls than a self-test makes.
const LATE: u32 = 25;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Under which attributes it marks: another for each place in a chain.
    place: String,
    /// A part of the mark, so that a change of the configuration can be seen on spans.
    note: String,
}

struct Versions {
    /// The attribute of this version with this configuration. That two versions have marked a span
    /// would be seen: neither overwrites the other.
    key: String,
    calls: u32,
}

/// A part of the block. The hint keeps the compiler from knowing the bytes.
fn part(from: usize, to: usize) -> &'static str {
    let block: &'static [u8] = core::hint::black_box(&BLOCK);
    block.get(from..to).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
}

impl Plugin for Versions {
    type Config = Config;

    fn describe() -> Description {
        Description::new("versions", part(45, 48)).read("spans.attributes:soak.*").write("spans.attributes:soak.*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let key = format!("soak.{}.{}.{}", config.place, part(28, 36), config.note);
        Ok(Configured::new(Self { key, calls: 0 }))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.calls += 1;
        for span in batch.spans()? {
            // 2 on a span that it has marked before.
            let before = span.attribute(&self.key)?.as_int().unwrap_or_default();
            span.set_attribute(&self.key, before + 1);
        }
        match part(17, 22) {
            "traps" => core::arch::wasm32::unreachable(),
            "spins" => spin(),
            "later" if self.calls >= LATE => spin(),
            _ => Ok(()),
        }
    }
}

fn spin() -> ! {
    loop {
        core::hint::black_box(());
    }
}

sluice_sdk::export!(Versions);
