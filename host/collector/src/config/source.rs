//! Where a configuration comes from: files, `--set` arguments, the one built in.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_state::open_regular;

use super::diagnostic::Diagnostics;
use super::mark::{Mark, Origin};
use super::tree::{Entry, Tree, Value};
use super::written::Written;
use super::yaml;

/// The largest file that is read. A configuration of a thousand components is some 500 KiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What `sluice run` serves without `--config`.
pub const DEFAULT: &str = include_str!("default.yaml");

/// One source of configuration. A later one overrides an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text and its name.
    Text(String, String),
    /// `KEY=VALUE` of a `--set` argument: the key's steps are separated by `.` or `::`, the value
    /// is YAML.
    Set(String),
    /// Any of these as it was read before.
    Kept(Written),
}

impl Source {
    /// The configuration that is built in.
    pub fn built_in() -> Self {
        Self::Text("built-in".to_owned(), DEFAULT.to_owned())
    }

    /// Reads the source; what is wrong goes to `problems`.
    pub(super) fn read(&self, order: usize, pipes: Pipes, problems: &mut Diagnostics) -> Option<Written> {
        let written = |name: &str, text: &str, is_argument| Written {
            name: name.to_owned(),
            file: None,
            folder: PathBuf::new(),
            is_argument,
            text: text.to_owned(),
        };
        match self {
            Self::File(path) => {
                let mut written = written(&path.display().to_string(), "", false);
                path.parent().unwrap_or(Path::new("")).clone_into(&mut written.folder);
                written.file = Some(path.clone());
                let text = read(path, pipes).inspect_err(|reason| {
                    problems.error(&Mark::new(&written.origin(order), 0, 0), format!("cannot read: {reason}"));
                });
                text.ok().map(|text| Written { text, ..written })
            }
            Self::Text(name, text) => Some(written(name, text, false)),
            Self::Set(argument) => Some(written(&format!("--set {argument}"), argument, true)),
            Self::Kept(written) => Some(written.clone()),
        }
    }
}

impl Written {
    fn origin(&self, order: usize) -> Arc<Origin> {
        Arc::new(Origin { order, name: self.name.clone(), folder: self.folder.clone() })
    }

    /// What it says; what is wrong goes to `problems`.
    pub(super) fn tree(&self, order: usize, problems: &mut Diagnostics) -> Option<Tree> {
        let origin = self.origin(order);
        if self.is_argument { set(&origin, &self.text, problems) } else { yaml::parse(&origin, &self.text, problems) }
    }
}

fn set(origin: &Arc<Origin>, argument: &str, problems: &mut Diagnostics) -> Option<Tree> {
    let mark = Mark::new(origin, 0, 0);
    let Some((path, value)) = argument.split_once('=') else {
        problems.error(&mark, "write KEY=VALUE, such as `exporters.otlp.endpoint=localhost:4317`");
        return None;
    };
    let mut wrong = Diagnostics::default();
    let Some(mut tree) = yaml::parse(origin, value, &mut wrong).filter(|_| !wrong.has_errors()) else {
        let reason = wrong.iter().next().map(|wrong| wrong.message.clone()).unwrap_or_default();
        problems.error(&mark, format!("the value is no YAML: {reason}"));
        return None;
    };
    tree.mark = mark.clone();
    let path = path.replace("::", ".");
    for key in path.rsplit('.') {
        if key.trim().is_empty() {
            problems.error(&mark, "a step of the key is empty");
            return None;
        }
        let entry = Entry { key: key.trim().to_owned(), mark: mark.clone(), value: tree };
        tree = Tree::new(mark.clone(), Value::Map(vec![entry]));
    }
    Some(tree)
}

/// Whether what is read may come from a pipe, such as a shell's `<(…)`, or from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// It may, and is waited for: nothing is served yet, and a signal ends the process.
    Waited,
    /// It may not: what was in it is gone, and whoever waits for more holds up a process that serves.
    Refused,
}

/// Reads a file of bounded size.
pub(super) fn read(path: &Path, pipes: Pipes) -> Result<String, String> {
    let file = match pipes {
        Pipes::Waited => std::fs::File::open(path),
        Pipes::Refused => open_regular(path),
    };
    let file = file.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    // A pipe or a device does not tell its size.
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("more than {} MiB", MAX_BYTES / 1024 / 1024));
    }
    String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}
