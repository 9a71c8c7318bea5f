//! The processes of the demonstration.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sluice_tests::collector::{Folder, Sluice};
use sluice_tests::process;
use sluice_tests::talk::Talk;

use crate::interrupt;
use crate::screen::Screen;

/// Everything that runs.
pub struct Cast {
    /// The upstream.
    pub sink: Talk,
    /// The collector.
    pub sluice: Sluice,
    /// The shop.
    pub shop: Talk,
    /// Every card number and e-mail address that the shop may send.
    pub secrets: Vec<String>,
    /// The config's text as it started with.
    pub config: String,
}

impl Cast {
    /// Starts upstream, collector and shop. With `stay` on OTLP's own ports.
    pub fn start(stay: bool, screen: &mut Screen) -> Result<Self> {
        let example = process::workspace().join("examples/quickstart/config.yaml");
        let config = fs::read_to_string(&example).with_context(|| example.display().to_string())?;

        let sink = Talk::start(&mut Command::new(process::release("sink")))?;
        interrupt::watch(sink.pid());
        let upstream = text(&sink.hear_event("listening")?["address"])?;

        let mut variables = vec![("UPSTREAM", OsString::from(&upstream)), ("SLUICE_LOGS", OsString::from("json"))];
        if !stay {
            let free = || OsString::from("localhost:0");
            variables.extend([
                ("SLUICE_GRPC", free()),
                ("SLUICE_HTTP", free()),
                ("SLUICE_METRICS", OsString::from("0")),
            ]);
        }
        let sluice = Sluice::spawn(Folder::new(&config), &variables);
        interrupt::watch(sluice.pid());
        sluice.ready()?;

        let endpoint = format!("http://{}", sluice.grpc());
        let shop = Talk::start(Command::new(process::release("shop")).arg("--endpoint").arg(&endpoint))?;
        interrupt::watch(shop.pid());
        let secrets = serde_json::from_value(shop.hear_event("open")?["secrets"].clone())?;

        screen.title("Sluice: a shop's spans through four sandboxed plugins");
        screen.say(&format!("  shop (OpenTelemetry SDK)  process {:>7}", shop.pid()));
        screen.say(&format!(
            "  sluice                    process {:>7}  OTLP on {endpoint}, config examples/quickstart",
            sluice.pid()
        ));
        screen.say(&format!("  upstream                  process {:>7}  OTLP on http://{upstream}", sink.pid()));
        Ok(Self { sink, sluice, shop, secrets, config })
    }

    /// Asks the shop to send all that it has made, and tells how much that was.
    pub fn mark(&mut self) -> Result<Sent> {
        self.shop.say("mark")?;
        Sent::read(&self.shop.hear_event("mark")?)
    }

    /// The numbers of the health checks that arrived upstream, in order.
    pub fn checks_arrived(&mut self) -> Result<Vec<i64>> {
        Ok(serde_json::from_value(self.sink.ask("checks")?["checks"].clone())?)
    }
}

/// What the shop has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Spans of all kinds.
    pub spans: i64,
    /// Health checks, numbered from 1.
    pub checks: i64,
}

impl Sent {
    /// What an event of the shop says.
    pub fn read(event: &Value) -> Result<Self> {
        let number = |name: &str| event[name].as_i64().with_context(|| format!("the shop says no number of {name}"));
        Ok(Self { spans: number("spans")?, checks: number("checks")? })
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}
