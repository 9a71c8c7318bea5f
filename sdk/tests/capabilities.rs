//! Capabilities in the native tests of a plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use sluice_sdk::prelude::*;
use sluice_sdk::testing::{Problem, Stage};
use sluice_sdk::{Refusal, clock, random};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    in_configure: bool,
}

/// Declares `$capabilities` and does `$work`, whose answer a test finds in the failure.
macro_rules! plugin {
    ($name:ident, [$($capability:literal),*], $work:expr) => {
        struct $name;

        impl Plugin for $name {
            type Config = Config;

            fn describe() -> Description {
                Description::new("test", "0.0.0")$(.capability($capability))*
            }

            fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
                let work: fn() -> Result<String, Refusal> = $work;
                match config.in_configure.then(work) {
                    Some(Err(refusal)) => Err(vec![ConfigError::new("in_configure", refusal.code.to_string())]),
                    _ => Ok(Configured::new(Self)),
                }
            }

            fn process(&mut self, _: &Batch) -> Result<(), Failure> {
                let work: fn() -> Result<String, Refusal> = $work;
                match work() {
                    Ok(said) => Err(Failure::new(said)),
                    Err(refusal) => Err(Failure::new(format!("refusal {}", refusal.code))),
                }
            }
        }
    };
}

/// What the plugin answered.
fn said<P: Plugin>(stage: &mut Stage<P>) -> String {
    match stage.process(b"") {
        Err(Problem::Failed(failure)) => failure.message,
        other => panic!("{other:?}"),
    }
}

fn stage<P: Plugin>() -> Stage<P> {
    Stage::new("{}").unwrap()
}

plugin!(Clock, ["clock"], || Ok(clock::now_unix_nano()?.to_string()));
plugin!(Numbers, ["random"], || Ok(format!("{:?}", random::numbers(3)?)));
plugin!(One, ["random"], || Ok(random::number()?.to_string()));
plugin!(Undeclared, ["clock"], || Ok(random::number()?.to_string()));

#[test]
fn the_clock_shows_what_the_test_says() {
    let mut stage = stage::<Clock>().at(1_000_000_000);
    assert_eq!(said(&mut stage), "1000000000");
    stage.advance(Duration::from_millis(1500));
    assert_eq!(said(&mut stage), "2500000000");
}

#[test]
fn random_numbers_are_the_same_for_the_same_seed_and_go_on() {
    // The outputs of the published generator for this seed.
    let published = "[6457827717110365317, 3203168211198807973, 9817491932198370423]";
    let mut first = stage::<Numbers>().seed(1_234_567);
    assert_eq!(said(&mut first), published);
    assert_ne!(said(&mut first), published);
    assert_eq!(said(&mut stage::<Numbers>().seed(1_234_567)), published);
    assert_ne!(said(&mut stage::<Numbers>().seed(1_234_568)), published);
    assert_eq!(said(&mut stage::<One>().seed(1_234_567)), "6457827717110365317");
}

#[test]
fn what_was_not_declared_is_denied() {
    assert_eq!(said(&mut stage::<Undeclared>()), "refusal 1");
}

#[test]
fn nothing_answers_in_configure() {
    match Stage::<Clock>::new(r#"{"in_configure": true}"#).map(|_| ()) {
        Err(Problem::Config(problems)) => assert_eq!(problems[0].message, "6"),
        other => panic!("{other:?}"),
    }
}
