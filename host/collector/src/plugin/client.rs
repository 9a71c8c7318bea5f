//! `sluice plugin list` and its like: asks the admin API of a running Sluice.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Inspection, complain, write};
use crate::cli::{ChangeArgs, ClientArgs, NamedArgs};
use crate::extension::admin;
use crate::terminal::plain;

/// An answer is some kilobytes a plugin.
const MAX_ANSWER: usize = 16 << 20;

/// Looking takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A change may have to compile, for which the default limit is 30 s, and others may be before it.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(5);

/// What of a component id cannot stand in a path.
const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// `sluice plugin list`: the plugins that serve.
pub fn list(client: &ClientArgs) -> ExitCode {
    tell(client, &Question::get("/v1/plugins"), |answer| {
        let mut text = row(["PLUGIN", "NAME", "VERSION", "DIGEST", "LAST SWAP", "SINCE"]);
        for plugin in answer["plugins"].as_array().into_iter().flatten() {
            let of = |key: &str| plain(plugin[key].as_str().unwrap_or_default());
            let digest = plugin["digest"].as_str().and_then(|digest| digest.get(..12)).unwrap_or_default();
            let swap = plugin.pointer("/last_swap/outcome").and_then(Value::as_str).unwrap_or_default();
            text.push_str(&row([&of("plugin"), &of("name"), &of("version"), digest, swap, &of("since")]));
        }
        Ok(text)
    })
}

/// `sluice plugin show NAME`: all that is known of one.
pub fn show(name: &str, client: &ClientArgs) -> ExitCode {
    tell(client, &Question::get(&path(name)), |answer| {
        let inspection: Inspection = serde_json::from_value(answer.clone()).context("its answer is not understood")?;
        let mut text = inspection.to_string();
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let swap = &answer["last_swap"];
        writeln!(text, "since        {}", of(&answer["since"]))?;
        writeln!(
            text,
            "last swap    {} at {}, trigger {}",
            of(&swap["outcome"]),
            of(&swap["step"]),
            of(&swap["trigger"])
        )?;
        if let Some(reason) = swap["reason"].as_str() {
            writeln!(text, "  reason     {}", plain(reason))?;
        }
        writeln!(text, "  ms         {}", swap["ms"])?;
        if answer["candidate"].is_object() {
            text.push_str(&candidate(&answer["candidate"])?);
        }
        let kept: Vec<_> = answer["kept"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        writeln!(text, "kept         {}", kept.join(", "))?;
        if let Some(digest) = answer["rolled_back"].as_str() {
            writeln!(text, "rolled back  {digest}")?;
        }
        Ok(text)
    })
}

/// What is tried beside it, and how that does.
fn candidate(tried: &Value) -> Result<String, std::fmt::Error> {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut text =
        format!("candidate    {}, {} since {}\n", of(&tried["digest"]), of(&tried["phase"]), of(&tried["since"]));
    for (who, side) in [("it", tried), ("present", &tried["current"])] {
        writeln!(
            text,
            "  {who:<10} {} spans, {} dropped, p50 {} µs, p99 {} µs, {} bytes, {} failures",
            side["spans"], side["would_drop"], side["p50_us"], side["p99_us"], side["memory"], side["failures"]
        )?;
    }
    for (key, spans) in tried["changed_keys"].as_object().into_iter().flatten() {
        writeln!(text, "  differs    {} on {spans} spans", plain(key))?;
    }
    if let Some(batches) = tried["not_compared"].as_u64().filter(|batches| *batches > 0) {
        writeln!(text, "  too large  {batches} batches, which were not compared")?;
    }
    Ok(text)
}

/// `sluice plugin swap NAME`: makes it look at the module again.
pub fn swap(name: &str, force: bool, change: &ChangeArgs) -> ExitCode {
    let query = if force { "?force=true" } else { "" };
    post(&format!("{}/swap{query}", path(name)), change)
}

/// `sluice plugin rollback NAME` and its like: `what` is to be done with it.
pub fn order(what: &str, NamedArgs { name, change }: &NamedArgs) -> ExitCode {
    post(&format!("{}/{what}", path(name)), change)
}

fn path(name: &str) -> String {
    format!("/v1/plugins/{}", utf8_percent_encode(name, IN_A_PATH))
}

fn post(path: &str, change: &ChangeArgs) -> ExitCode {
    let token = match admin::token(&change.token_file) {
        Ok(token) => token,
        Err(reason) => return complain(&anyhow::anyhow!(reason)),
    };
    tell(&change.client, &Question { path: path.to_owned(), token: Some(token) }, |answer| {
        let of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut text = format!("{}\n", of(answer, "outcome"));
        for swap in answer["swaps"].as_array().into_iter().flatten() {
            writeln!(
                text,
                "  {} {} {} -> {}",
                of(swap, "plugin"),
                of(swap, "outcome"),
                of(swap, "from"),
                of(swap, "to")
            )?;
        }
        Ok(text)
    })
}

/// What to ask: to know, or with a token to change.
struct Question {
    path: String,
    token: Option<String>,
}

impl Question {
    fn get(path: &str) -> Self {
        Self { path: path.to_owned(), token: None }
    }
}

fn row(cells: [&str; 6]) -> String {
    let [plugin, name, version, digest, swap, since] = cells;
    format!("{plugin:<28} {name:<20} {version:<10} {digest:<12} {swap:<10} {since}\n")
}

/// Asks, and prints the answer: as it is, or as `text` puts it.
fn tell(client: &ClientArgs, question: &Question, text: impl FnOnce(&Value) -> anyhow::Result<String>) -> ExitCode {
    let answer = answer(&client.endpoint, question).and_then(|answer| {
        if client.json { Ok(format!("{}\n", serde_json::to_string_pretty(&answer)?)) } else { text(&answer) }
    });
    match answer {
        Ok(text) => write(&text),
        Err(error) => complain(&error),
    }
}

fn answer(endpoint: &str, question: &Question) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeout = if question.token.is_some() { CHANGE_TIMEOUT } else { TIMEOUT };
    let asked = runtime.block_on(async { tokio::time::timeout(timeout, ask(endpoint, question)).await });
    asked.with_context(|| format!("no answer from {endpoint} within {timeout:?}"))?
}

async fn ask(endpoint: &str, question: &Question) -> anyhow::Result<Value> {
    let nobody = || {
        format!(
            "cannot reach the admin API at {endpoint}: is it configured (`admin` of the extension `sluice`), and is --endpoint right?"
        )
    };
    let stream = TcpStream::connect(endpoint).await.with_context(nobody)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let method = if question.token.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(method).uri(&question.path).header(header::HOST, endpoint);
    if let Some(token) = &question.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok::<_, anyhow::Error>((parts.status, body))
    };
    // The connection is driven here, so that nothing is left behind.
    let (status, body) = tokio::select! {
        answer = answer => answer?,
        ended = connection => bail!("the connection to {endpoint} ended before the answer: {ended:?}"),
    };
    let value: Value = serde_json::from_slice(&body)
        .with_context(|| format!("{endpoint} is no admin API of Sluice: it answers {status}"))?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) if !status.is_success() => bail!("{endpoint} answers {status}: {error}"),
        _ => Ok(value),
    }
}
