//! Capabilities in the native tests of a plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use sluice_sdk::prelude::*;
use sluice_sdk::testing::{Problem, Stage};
use sluice_sdk::{Refusal, Texts, Values, clock, random, store, tables};

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

/// Counts its calls, and gives the count.
fn count() -> Result<String, Refusal> {
    Ok(store::add(&Texts::one("calls"), &[1], Some(Duration::from_mins(1)))?[0].to_string())
}

/// Takes one token of two, for ever.
fn take() -> Result<bool, Refusal> {
    Ok(store::take(&Texts::one("bucket"), &[1], store::Bucket { rate_per_s: 0.0, burst: 2 })?[0])
}

/// Counts and takes in every request; leaves what it saw in [`SAID`].
struct Counter {
    fails: bool,
}

#[derive(Deserialize)]
struct CounterConfig {
    #[serde(default)]
    fails: bool,
}

thread_local! {
    static SAID: std::cell::RefCell<Vec<(String, bool)>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Plugin for Counter {
    type Config = CounterConfig;

    fn describe() -> Description {
        Description::new("counter", "0.0.0").capability("store")
    }

    fn configure(config: CounterConfig) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self { fails: config.fails }))
    }

    fn process(&mut self, _: &Batch) -> Result<(), Failure> {
        let said = (count()?, take()?);
        SAID.with_borrow_mut(|all| all.push(said));
        if self.fails { Err(Failure::new("as configured")) } else { Ok(()) }
    }
}

fn counted() -> Vec<(String, bool)> {
    SAID.take()
}

fn was(count: &str, took: bool) -> (String, bool) {
    (count.to_owned(), took)
}

#[test]
fn what_a_request_stores_is_there_for_the_next_until_its_time_is_over() {
    let mut stage = Stage::<Counter>::new("{}").unwrap();
    for _ in 0..3 {
        stage.process(b"").unwrap();
    }
    stage.advance(Duration::from_mins(1));
    stage.process(b"").unwrap();
    assert_eq!(counted(), [was("1", true), was("2", true), was("3", false), was("1", false)]);
}

#[test]
fn a_refused_or_failed_request_stores_nothing_and_gives_back_its_tokens() {
    let mut stage = Stage::<Counter>::new("{}").unwrap();
    for _ in 0..5 {
        stage.process_refused(b"").unwrap();
    }
    stage.process(b"").unwrap();
    assert_eq!(counted(), vec![was("1", true); 6]);
    let mut failing = Stage::<Counter>::new(r#"{"fails": true}"#).unwrap();
    for _ in 0..5 {
        failing.process(b"").unwrap_err();
    }
    assert_eq!(counted(), vec![was("1", true); 5]);
}

plugin!(Full, ["store"], || {
    store::set(&Texts::one("k"), &Values::string("some text"), None)?;
    Ok("stored".to_owned())
});

#[test]
fn a_full_store_is_refusal_5() {
    assert_eq!(said(&mut stage::<Full>().store_bytes(100)), "refusal 5");
    assert_eq!(said(&mut stage::<Full>()), "stored");
}

plugin!(Reader, ["store"], || {
    let keys = Texts::one("k");
    let swapped = store::compare_and_set(&keys, &Values::absent(), &Values::string("new"), None)?;
    let read = store::get(&keys)?.str(0).map(str::to_owned);
    store::remove(&keys)?;
    Ok(format!("{swapped:?} {read:?} {:?}", store::get(&keys)?.str(0)))
});

#[test]
fn a_request_sees_its_own_work() {
    assert_eq!(said(&mut stage::<Reader>()), r#"[true] Some("new") None"#);
}

/// Looks up two keys in the table `t` and one in the table `other`; leaves what it saw in [`FOUND`].
struct Finder;

#[derive(Deserialize)]
struct FinderConfig {}

thread_local! {
    static FOUND: std::cell::RefCell<Vec<Option<String>>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn look(table: &str) -> Result<Vec<Option<String>>, Refusal> {
    let mut keys = Texts::one("x");
    keys.push(b"y");
    let found = tables::look_up(table, "a", &keys)?;
    Ok((0..found.len()).map(|i| found.str(i).map(str::to_owned)).collect())
}

impl Plugin for Finder {
    type Config = FinderConfig;

    fn describe() -> Description {
        Description::new("finder", "0.0.0").capability("tables").read("tables:t")
    }

    fn configure(_: FinderConfig) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self))
    }

    fn process(&mut self, _: &Batch) -> Result<(), Failure> {
        FOUND.set(look("t")?);
        match look("other") {
            Err(refusal) if refusal.code == 1 => Ok(()),
            other => Err(Failure::new(format!("{other:?}"))),
        }
    }
}

#[test]
fn a_plugin_finds_what_the_test_has_put_into_the_tables_it_asks_for() {
    let stage = Stage::<Finder>::new("{}").unwrap().table("t", "id,a\nx,found\n", "id").unwrap();
    let mut stage = stage.table("other", "id,a\nx,found\n", "id").unwrap();
    stage.process(b"").unwrap();
    assert_eq!(FOUND.take(), [Some("found".to_owned()), None]);
    let mut without = Stage::<Finder>::new("{}").unwrap();
    assert!(matches!(without.process(b""), Err(Problem::Failed(_))));
    assert!(without.table("t", "a\n", "id").map(drop).unwrap_err().contains("id"));
}

/// Names the file of its configuration; looks up as [`Finder`] does.
struct Namer;

#[derive(Deserialize)]
struct NamerConfig {
    path: String,
}

impl Plugin for Namer {
    type Config = NamerConfig;

    fn describe() -> Description {
        Description::new("namer", "0.0.0").capability("tables")
    }

    fn configure(config: NamerConfig) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self).file(TableFile::csv("t", config.path, "id")))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        Finder.process(batch)
    }
}

#[test]
fn a_plugin_finds_what_is_in_the_files_that_it_names() {
    let stage = Stage::<Namer>::new(r#"{"path": "t.csv"}"#).unwrap();
    assert_eq!(stage.files(), [TableFile::csv("t", "t.csv", "id")]);
    stage.table("t", "id,a\ny,found\n", "id").unwrap().process(b"").unwrap();
    assert_eq!(FOUND.take(), [None, Some("found".to_owned())]);
}

/// Names a file of its own choice, and may not declare the capability for it.
struct Thief<const DECLARES: bool>;

impl<const DECLARES: bool> Plugin for Thief<DECLARES> {
    type Config = NamerConfig;

    fn describe() -> Description {
        let description = Description::new("thief", "0.0.0");
        if DECLARES { description.capability("tables") } else { description }
    }

    fn configure(_: NamerConfig) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self).file(TableFile::json_lines("t", "/etc/passwd", "id")))
    }

    fn process(&mut self, _: &Batch) -> Result<(), Failure> {
        Ok(())
    }
}

fn not_given<P: Plugin>(config: &str) -> String {
    match Stage::<P>::new(config).map(drop) {
        Err(Problem::Access(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_the_host_would_not_open_fails_here_already() {
    let told = not_given::<Thief<true>>(r#"{"path": "t.csv"}"#);
    assert!(told.contains("`/etc/passwd`, which stands nowhere in its configuration"), "{told}");
    assert!(Stage::<Thief<true>>::new(r#"{"path": "/etc/passwd"}"#).is_ok());
    let told = not_given::<Thief<false>>(r#"{"path": "/etc/passwd"}"#);
    assert!(told.contains("capability `tables`"), "{told}");
}
