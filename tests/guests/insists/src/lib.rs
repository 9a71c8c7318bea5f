//! A plugin that uses the standard library as any program does: it asks for files, the environment, the network,
//! the time and random numbers, prints, and writes on every span what came of each.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use sluice_sdk::prelude::*;

/// Each look moves the clock by this.
const STEP: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// A file that is there.
    file: String,
    /// A folder in which a file could be made.
    folder: String,
    /// A variable that is set.
    variable: String,
    /// An address at which somebody listens.
    address: String,
}

struct Insists(Config);

/// `nothing`, or what it was that was found.
fn nothing<T: std::fmt::Debug, E>(tried: Result<T, E>) -> String {
    tried.map_or_else(|_| "nothing".to_owned(), |found| format!("{found:?}"))
}

impl Insists {
    fn finds(&self) -> [(&'static str, String); 12] {
        let Config { file, folder, variable, address } = &self.0;
        let mut input = Vec::new();
        let read = std::io::stdin().read_to_end(&mut input).map_or(0, |read| read);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (began, mut looks) = (Instant::now(), 0);
        while looks < 1_000 && began.elapsed() < STEP * 5 {
            looks += 1;
        }
        let clocks = format!("{} s and {looks} looks", wall.as_secs());
        let hashes = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(1));
        let variables = std::env::vars().count() + std::env::args().count();
        [
            ("file", nothing(std::fs::read(file))),
            ("folder", nothing(std::fs::read_dir("/").map(|_| ()))),
            ("written", nothing(std::fs::write(Path::new(folder).join("made"), "text"))),
            ("variable", nothing(std::env::var(variable))),
            ("variables", variables.to_string()),
            ("connected", nothing(TcpStream::connect(address))),
            ("listens", nothing(TcpListener::bind("127.0.0.1:0"))),
            ("name", nothing(("localhost", 80).to_socket_addrs())),
            ("input", read.to_string()),
            ("printed", nothing(writeln!(std::io::stdout(), "printed by the plugin"))),
            ("clocks", clocks),
            ("random", (hashes[0] != hashes[1]).to_string()),
        ]
    }
}

impl Plugin for Insists {
    type Config = Config;

    fn describe() -> Description {
        Description::new("insists", "0.1.0").write("spans.attributes:wasi.*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self(config)))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        let finds = self.finds();
        for span in batch.spans()? {
            for (what, found) in &finds {
                span.set_attribute(&format!("wasi.{what}"), found.as_str());
            }
        }
        Ok(())
    }
}

sluice_sdk::export!(Insists);
