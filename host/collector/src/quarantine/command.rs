//! `sluice quarantine list | show | replay`: what is in the quarantine, and back into the pipeline.
//!
//! The commands work on the folder. A replay is asked for there and done by the collector that runs
//! on it; the command waits until it is.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::replay::Requests;
use super::{Record, folder_in};
use crate::cli::ConfigArgs;
use crate::config;
use crate::terminal::plain;

/// How often a replay is looked after.
const POLL: Duration = Duration::from_millis(20);

/// How long a collector may take to begin with a replay; it looks twice a second.
const BEGIN: Duration = Duration::from_secs(5);

/// How long one that has begun may take. Its spans wait for room in the queues, no longer than that.
const END: Duration = Duration::from_mins(1);

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the records, oldest first
    List {
        /// Where they are.
        #[command(flatten)]
        place: Place,
        /// An array of objects instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show a record and its spans as they came to the plugin, secrets included
    Show {
        /// Where it is.
        #[command(flatten)]
        place: Place,
        /// One object
        #[arg(long)]
        json: bool,
        /// The record
        id: String,
    },
    /// Have the running collector pass records through their plugin and the rest of its pipeline
    Replay {
        /// Where they are.
        #[command(flatten)]
        place: Place,
        /// All records
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// The records
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Where the quarantine is.
#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    config: ConfigArgs,
    /// The collector's `state_dir`, instead of a configuration that names it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "set"])]
    state_dir: Option<PathBuf>,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Config(config::Diagnostics),
    #[error("the configuration has no `state_dir` in the extension `sluice`, so it has no quarantine")]
    NoPlace,
    #[error("there is no folder {}: name the `state_dir` of the extension `sluice`", .0.display())]
    NoStateDir(PathBuf),
    #[error("cannot read {}: {error}", folder.display())]
    Folder { folder: PathBuf, error: std::io::Error },
    #[error("there is no record `{0}` in the quarantine; it may have been replayed or be older than `max_age`")]
    NoRecord(String),
    #[error("record `{id}`: {error}")]
    Record { id: String, error: super::Damaged },
    #[error("record `{id}`: its spans cannot be shown: {error}")]
    Spans { id: String, error: sluice_spans::Malformed },
    #[error("record `{id}`: the replay cannot be asked for: {error}")]
    Ask { id: String, error: std::io::Error },
    #[error("record `{0}`: no collector has taken it: is one running with this `state_dir`?")]
    NobodyThere(String),
    #[error(
        "record `{0}`: the collector has begun and not ended; what it has not done it takes up when it starts again"
    )]
    NoAnswer(String),
    #[error("record `{id}` stays in the quarantine: {reason}")]
    Refused { id: String, reason: String },
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs a command: 0, or 1 with the reason on stderr.
pub fn run(command: &Command) -> ExitCode {
    let result = match command {
        Command::List { place, json } => list(place, *json),
        Command::Show { place, id, json } => show(place, id, *json),
        Command::Replay { place, all, ids } => replay(place, *all, ids),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            complain(&failed);
            ExitCode::FAILURE
        }
    }
}

/// Problems of a configuration are a line each.
fn told(failed: &Failed) -> String {
    if let Failed::Config(problems) = failed { problems.to_string() } else { plain(&failed.to_string()).into_owned() }
}

/// Writes to stderr, or says nothing if that is closed.
fn complain(failed: &Failed) {
    let _ = writeln!(std::io::stderr().lock(), "error: {}", told(failed));
}

fn say(text: &str) -> Result<(), Failed> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

impl Place {
    fn folder(&self) -> Result<PathBuf, Failed> {
        if let Some(state_dir) = &self.state_dir {
            if !state_dir.is_dir() {
                return Err(Failed::NoStateDir(state_dir.clone()));
            }
            return Ok(folder_in(state_dir));
        }
        let loaded = config::load(&self.config.sources()).map_err(|broken| Failed::Config(broken.problems))?;
        loaded.config.state_dir().map(folder_in).ok_or(Failed::NoPlace)
    }
}

/// The records, oldest first. Those that cannot be read are told of.
fn records(folder: &Path) -> Result<(Vec<Record>, bool), Failed> {
    let ids = super::ids(folder).map_err(|error| Failed::Folder { folder: folder.to_owned(), error })?;
    let (mut records, mut all) = (Vec::new(), true);
    for id in ids {
        match Record::read(&super::path_in(folder, &id)) {
            Ok((record, _)) => records.push(record),
            // It was replayed meanwhile.
            Err(super::Damaged::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                complain(&Failed::Record { id, error });
                all = false;
            }
        }
    }
    Ok((records, all))
}

fn list(place: &Place, json: bool) -> Result<bool, Failed> {
    let (records, all) = records(&place.folder()?)?;
    if json {
        say(&format!("{}\n", json!(records)))?;
        return Ok(all);
    }
    let mut rows = vec![["ID", "TIME", "PLUGIN", "KIND", "SPANS"].map(str::to_owned)];
    rows.extend(
        records.into_iter().map(|record| {
            [record.id, record.time, record.case.plugin, record.case.kind, record.case.spans.to_string()]
        }),
    );
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
            // Writing into a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    say(&text)?;
    Ok(all)
}

fn show(place: &Place, id: &str, json: bool) -> Result<bool, Failed> {
    let folder = place.folder()?;
    let (record, wire) = read(&folder, id)?;
    let spans = sluice_spans::json::to_json(&wire).map_err(|error| Failed::Spans { id: id.to_owned(), error })?;
    // What we have just written is JSON.
    let request: Value = serde_json::from_str(&spans).unwrap_or_default();
    if json {
        let mut object = json!(record);
        if let Some(object) = object.as_object_mut() {
            object.insert("request".to_owned(), request);
        }
        say(&format!("{object}\n"))?;
        return Ok(true);
    }
    let case = &record.case;
    say(&format!(
        "id         {}\ntime       {}\npipeline   {}\nplugin     {}\nversion    {}\ndigest     {}\nkind       {}\nreason     {}\nbacktrace  {}\nspans      {}\n\n{request:#}\n",
        record.id,
        record.time,
        case.pipeline,
        case.plugin,
        plain(&case.version),
        case.digest,
        case.kind,
        plain(&case.reason),
        plain(&case.backtrace),
        case.spans,
    ))?;
    Ok(true)
}

fn read(folder: &Path, id: &str) -> Result<(Record, Vec<u8>), Failed> {
    if !super::is_id(id) {
        return Err(Failed::NoRecord(id.to_owned()));
    }
    Record::read(&super::path_in(folder, id)).map_err(|error| match error {
        super::Damaged::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Failed::NoRecord(id.to_owned()),
        error => Failed::Record { id: id.to_owned(), error },
    })
}

fn replay(place: &Place, all: bool, ids: &[String]) -> Result<bool, Failed> {
    let folder = place.folder()?;
    let every = if all {
        super::ids(&folder).map_err(|error| Failed::Folder { folder: folder.clone(), error })?
    } else {
        Vec::new()
    };
    let mut went_well = true;
    for id in ids.iter().chain(&every) {
        match replay_one(&folder, id) {
            Ok(spans) => say(&format!("{id}: {spans} spans replayed\n"))?,
            Err(failed) => {
                complain(&failed);
                went_well = false;
            }
        }
    }
    Ok(went_well)
}

fn replay_one(folder: &Path, id: &str) -> Result<u32, Failed> {
    let (record, _) = read(folder, id)?;
    let requests = Requests::new(folder);
    requests.ask(id).map_err(|error| Failed::Ask { id: id.to_owned(), error })?;
    let asked = Instant::now();
    loop {
        if let Some(reason) = requests.refused(id) {
            return Err(Failed::Refused { id: id.to_owned(), reason });
        }
        if !requests.is_pending(id) {
            return Ok(record.case.spans);
        }
        if asked.elapsed() > BEGIN && requests.take_back(id) {
            return Err(Failed::NobodyThere(id.to_owned()));
        }
        if asked.elapsed() > END {
            return Err(Failed::NoAnswer(id.to_owned()));
        }
        std::thread::sleep(POLL);
    }
}
