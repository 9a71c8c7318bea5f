//! Marks spans that took longer than a limit.

use sluice_sdk::prelude::*;

/// The keys under `config:`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    slower_than_ms: u64,
}

/// The plugin.
pub struct MarkSlow {
    limit_nanos: u64,
}

impl Plugin for MarkSlow {
    type Config = Config;

    fn describe() -> Description {
        Description::new("first-plugin", env!("CARGO_PKG_VERSION")).write("spans.attributes:slow")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self { limit_nanos: config.slower_than_ms.saturating_mul(1_000_000) }))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        for span in batch.spans()? {
            if span.duration_nanos()? > self.limit_nanos {
                span.set_attribute("slow", true);
            }
        }
        Ok(())
    }
}

sluice_sdk::export!(MarkSlow);

#[cfg(test)]
mod tests {
    use super::MarkSlow;
    use sluice_sdk::testing::run;

    /// One span that took 2 ms, as an OTLP request: resource, scope and span are field 1, 2 and 2
    /// of what encloses them; fields 7 and 8 are the times.
    fn two_milliseconds() -> Vec<u8> {
        let mut span = vec![0x0a, 16];
        span.extend([1; 16]);
        span.extend([0x12, 8, 2, 2, 2, 2, 2, 2, 2, 2]);
        for (key, nanos) in [(0x39, 1_000_000u64), (0x41, 3_000_000)] {
            span.push(key);
            span.extend(nanos.to_le_bytes());
        }
        let wrap = |key: u8, body: Vec<u8>| [vec![key, body.len() as u8], body].concat();
        wrap(0x0a, wrap(0x12, wrap(0x12, span)))
    }

    #[test]
    fn only_slow_spans_are_marked() {
        let slow = run::<MarkSlow>(r#"{"slower_than_ms": 1}"#, &two_milliseconds()).unwrap();
        assert_eq!(slow.edited, 1);
        assert!(slow.wire.windows(4).any(|window| window == b"slow"));
        let fast = run::<MarkSlow>(r#"{"slower_than_ms": 2}"#, &two_milliseconds()).unwrap();
        assert_eq!((fast.edited, fast.wire), (0, two_milliseconds()));
    }
}
