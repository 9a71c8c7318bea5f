//! A plugin that counts the spans that it has seen in its own memory, writes the count on each, and hands
//! it over to the next version. How a version takes that and which layout it has stand in a block of bytes that
//! the test replaces in the built component, so that many versions cost one build.

use serde::Deserialize;
use sluice_sdk::prelude::*;

/// What it does with snapshots, its layout, and its version; of fixed lengths.
static BLOCK: [u8; 44] = *b"state-test takes=count- schema=1 version=001";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

struct Counter {
    spans: u64,
}

/// A part of the block. The hint keeps the compiler from knowing the bytes.
fn part(from: usize, to: usize) -> &'static str {
    let block: &'static [u8] = core::hint::black_box(&BLOCK);
    block.get(from..to).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
}

impl Plugin for Counter {
    type Config = Config;

    fn describe() -> Description {
        let schema = part(31, 32).parse().unwrap_or_default();
        Description::new("counter", part(41, 44)).schema(schema).write("spans.attributes:count")
    }

    fn configure(_: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self { spans: 0 }))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        for span in batch.spans()? {
            self.spans += 1;
            span.set_attribute("count", self.spans.to_string().as_str());
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, Failure> {
        if self.spans == 0 {
            return Ok(Vec::new());
        }
        match part(17, 23) {
            // More than may be handed over.
            "plenty" => Ok(vec![1; 3 << 19]),
            "stays-" => core::arch::wasm32::unreachable(),
            "keeps-" => loop {
                core::hint::black_box(());
            },
            _ => Ok(self.spans.to_le_bytes().to_vec()),
        }
    }

    /// Every new instance gets the snapshots of all old ones: the largest count is that of the one core
    /// that the test's connection lives on.
    fn restore(&mut self, snapshots: Vec<Vec<u8>>) -> Result<(), Failure> {
        match part(17, 23) {
            "failed" => return Err(Failure::new("these snapshots are not for me")),
            "traps-" => core::arch::wasm32::unreachable(),
            "spins-" => loop {
                core::hint::black_box(());
            },
            _ => {}
        }
        for snapshot in snapshots {
            let bytes = snapshot.try_into().map_err(|_| Failure::new("a snapshot is 8 bytes"))?;
            self.spans = self.spans.max(u64::from_le_bytes(bytes));
        }
        Ok(())
    }
}

sluice_sdk::export!(Counter);
