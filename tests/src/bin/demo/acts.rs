//! What happens, in order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use sluice_tests::talk::Talk;
use sluice_tests::wait;

use crate::cast::{Cast, Sent};
use crate::promises::Promises;
use crate::screen::{self, Screen};
use crate::{interrupt, plugins, sides};

/// How often the table is drawn anew.
const FRAME: Duration = Duration::from_millis(250);

/// The rule as the example has it, and as it is edited.
const RULE: (&str, &str) =
    (r#"# - 'attributes["http.route"] == "/health"'"#, r#"- 'attributes["http.route"] == "/health"'"#);

/// Traffic through the config as it is; shows one span before and after. Gives what was sent.
pub fn as_configured(cast: &mut Cast, screen: &mut Screen, promises: &mut Promises, seconds: u64) -> Result<Sent> {
    screen.title("Traffic: redaction, two attributes, a filter, a sampler");
    let sample = cast.shop.hear_event("sample")?;
    let question = format!("span {}", sample["span_id"].as_str().context("a span id")?);
    let arrived = wait::within(wait::PATIENCE, || match cast.sink.ask(&question) {
        Ok(Value::Null) => None,
        other => Some(other),
    });
    let arrived = arrived.context("the span to show never arrived upstream")??;
    for line in sides::beside(&sample, &arrived, screen::width()) {
        screen.say(&line);
    }
    screen.say("");
    flow(cast, screen, seconds);

    let sent = cast.mark()?;
    let all_arrived = wait::within(wait::PATIENCE, || {
        let arrived = cast.checks_arrived().ok()?;
        (1..=sent.checks).all(|check| arrived.binary_search(&check).is_ok()).then_some(())
    });
    let text = format!("all {} health checks sent before the rule was edited arrived", sent.checks);
    promises.note(all_arrived.is_some() && sent.checks > 0, text);
    Ok(sent)
}

/// What the edit of the rule led to.
pub struct Edited {
    sent: Sent,
    at_edit: Sent,
}

/// Edits the rule while traffic flows and waits until it is in effect.
pub fn rule_edited(cast: &mut Cast, screen: &mut Screen, at_edit: Sent) -> Result<Edited> {
    screen.title("A rule is edited on disk: health checks are to be dropped");
    let edited = cast.config.replacen(RULE.0, RULE.1, 1);
    anyhow::ensure!(edited != cast.config, "the example has lost the rule that is edited");
    let seen = cast.sluice.swaps("filter").len();
    let saved = Instant::now();
    cast.sluice.folder().write("config.yaml", edited);
    let swap = cast.sluice.wait_swap("filter", seen);
    let took = saved.elapsed();
    anyhow::ensure!(swap["outcome"] == "ok" || swap["outcome"] == "swapped", "the rule was not taken: {swap}");
    let sent = cast.mark()?;
    screen.say(&format!("  - {}", RULE.0));
    screen.say(&format!("  + {}", RULE.1));
    let steps = swap["ms"].as_object().into_iter().flatten();
    let steps: Vec<String> = steps.map(|(step, took)| format!("{step} {took} ms")).collect();
    screen.say(&format!("  in effect {} ms after it was saved, between two batches", took.as_millis()));
    screen.say(&format!("  by the event plugin.swap: {}", steps.join(", ")));
    Ok(Edited { sent, at_edit })
}

/// Traffic under the new rule, then the shop closes. Gives what was sent in all.
pub fn as_edited(
    cast: &mut Cast,
    screen: &mut Screen,
    promises: &mut Promises,
    seconds: u64,
    edited: &Edited,
) -> Result<Sent> {
    flow(cast, screen, seconds);
    cast.shop.say("stop")?;
    let sent = Sent::read(&cast.shop.hear_event("closed")?)?;
    cast.shop.finish()?;
    let settled = || {
        (cast.sluice.metrics().sum("sluice_account_spans", &[("level", "destination"), ("outcome", "held")]) == 0.0)
            .then_some(())
    };
    wait::within(wait::PATIENCE, settled).context("spans stay in the queue")?;

    let arrived = cast.checks_arrived()?;
    let last = arrived.last().copied().unwrap_or_default();
    let after = sent.checks - edited.sent.checks;
    screen.say(&format!(
        "  health checks: {} sent before the edit, {} while it took effect, {after} after; the last that arrived was number {last}",
        edited.at_edit.checks,
        edited.sent.checks - edited.at_edit.checks
    ));
    let text = format!("none of the {after} health checks sent after the rule was in effect arrived");
    promises.note(after > 0 && last <= edited.sent.checks, text);
    Ok(sent)
}

/// Stays up for the user's own traffic until Ctrl-C.
pub fn stay(cast: &mut Cast, screen: &mut Screen, promises: &mut Promises) -> Result<()> {
    // All that the shop sent is upstream. What comes now is the user's, and there is no end to it: it is only counted.
    look_for_secrets(&mut cast.sink, &cast.secrets, promises)?;
    cast.sink.ask("forget")?;
    // Before anybody is told to press it.
    interrupt::stay();
    screen.title("Yours: send OTLP to localhost:4317 (gRPC) or localhost:4318 (HTTP); Ctrl-C ends");
    let config = cast.sluice.folder().config();
    screen.say(&format!("  its config, to be edited while it runs: {}", config.display()));
    while !interrupt::asked() {
        screen.live(&plugins::table(&cast.sluice.metrics()));
        std::thread::sleep(FRAME);
    }
    Ok(())
}

/// Ends the collector and checks the books.
pub fn close(mut cast: Cast, screen: &mut Screen, promises: &mut Promises, stayed: bool, sent: Sent) -> Result<()> {
    for line in plugins::table(&cast.sluice.metrics()) {
        screen.say(&line);
    }
    let end = cast.sluice.terminate();
    screen.title("The closing account, in spans");
    for entry in end.account.entries() {
        screen.say(&format!("  {}", account_line(entry)));
    }

    // Who stayed has looked already, before upstream forgot.
    if !stayed {
        look_for_secrets(&mut cast.sink, &cast.secrets, promises)?;
    }
    let received = end.account.sum("receiver", "received");
    if stayed {
        let yours = (received - sent.spans).max(0);
        let text = format!("all {} spans of the shop were received, and {yours} of yours", sent.spans);
        promises.note(received >= sent.spans, text);
    } else {
        promises.note(
            received == sent.spans && received > 0,
            format!("the shop made {} spans, {received} were received", sent.spans),
        );
    }
    let arrived = cast.sink.ask("totals")?["spans"].as_i64().unwrap_or_default();
    let delivered = end.account.sum("destination", "delivered");
    promises.note(arrived == delivered, format!("{delivered} spans were delivered, upstream has {arrived}"));
    promises.note(end.account.missing() == 0, format!("{} spans are missing from the account", end.account.missing()));
    promises.note(end.code == 0, format!("the collector drained and ended with exit code {}", end.code));
    cast.sink.finish()?;
    Ok(())
}

/// Looks for the shop's secrets in all that is upstream.
fn look_for_secrets(sink: &mut Talk, secrets: &[String], promises: &mut Promises) -> Result<()> {
    let found = sink.ask(&format!("search {}", serde_json::to_string(secrets)?))?;
    let leaked = found["found"].as_array().map_or(usize::MAX, Vec::len);
    // That what was not to be touched is found shows that the search can find.
    let seen = sink.ask(r#"search ["WB-2025-0001"]"#)?["found"].as_array().map_or(0, Vec::len);
    let text =
        format!("none of {} card numbers and e-mail addresses is upstream, in {} bytes", secrets.len(), found["bytes"]);
    promises.note(leaked == 0 && seen == 1 && !secrets.is_empty(), text);
    Ok(())
}

fn flow(cast: &Cast, screen: &mut Screen, seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        screen.live(&plugins::table(&cast.sluice.metrics()));
        std::thread::sleep(FRAME);
    }
    for line in plugins::table(&cast.sluice.metrics()) {
        screen.say(&line);
    }
}

fn account_line(entry: &Value) -> String {
    let hidden = ["event", "kind", "name", "destination", "timestamp", "level", "target", "message", "time"];
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let outcomes = entry.as_object().into_iter().flatten().filter(|(name, _)| !hidden.contains(&name.as_str()));
    let outcomes: Vec<String> = outcomes.map(|(name, value)| format!("{name} {value}")).collect();
    let arrow = if text("destination").is_empty() { String::new() } else { format!(" → {}", text("destination")) };
    format!("{:<12} {}{arrow}: {}", text("kind"), text("name"), outcomes.join(", "))
}
