//! The table `host`: what is known of the machine, of the container and of the pod that Sluice runs in, in
//! OpenTelemetry's names. What cannot be found out is not in it; a file that the configuration names must be
//! there.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sluice_state::{LiveTable, Table, open_regular};

use crate::config::processor::Facts;

/// Where Linux tells of processes.
const PROC: &str = "/proc";

/// The most that is read of a file: all annotations of a pod may have 256 KiB.
const FILE_BYTES: u64 = 1 << 20;

/// What begins the name of a container's control group, before its id.
const RUNTIMES: [&str; 4] = ["docker", "cri-containerd", "crio", "libpod"];

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;

/// Names and values.
type Pairs = Vec<(String, String)>;

/// The tables `host` of a process, by plugin. One lives as long as somebody holds it.
#[derive(Default)]
pub(super) struct Hosts(Mutex<Vec<Known>>);

struct Known {
    plugin: String,
    facts: Facts,
    /// What was last found, or what was wrong.
    found: Result<Pairs, String>,
    live: Weak<LiveTable>,
}

/// A table `host` after a look at its files.
pub(super) struct Looked {
    pub(super) plugin: String,
    pub(super) table: Arc<Table>,
    /// How it went, if it went otherwise than before.
    pub(super) outcome: Option<Result<(), String>>,
}

impl Hosts {
    /// The table of a plugin: the one that serves already, or a new one.
    pub(super) fn open(&self, plugin: &str, facts: &Facts) -> Result<Arc<LiveTable>, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Known| known.plugin == plugin && known.facts == *facts;
        if let Some(live) = all.iter().find(same).and_then(|known| known.live.upgrade()) {
            return Ok(live);
        }
        let found = find(facts, Path::new(PROC))?;
        let live = Arc::new(LiveTable::new(table(&found)?));
        all.retain(|known| known.live.strong_count() > 0);
        let (plugin, facts) = (plugin.to_owned(), facts.clone());
        all.push(Known { plugin, facts, found: Ok(found), live: Arc::downgrade(&live) });
        Ok(live)
    }

    /// Looks at the files again. What is wrong with them leaves a table as it is.
    pub(super) fn refresh(&self) -> Vec<Looked> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.live.strong_count() > 0);
        all.iter_mut().filter_map(Known::refresh).collect()
    }
}

impl Known {
    fn refresh(&mut self) -> Option<Looked> {
        let live = self.live.upgrade()?;
        let found = find(&self.facts, Path::new(PROC)).and_then(|found| table(&found).map(|table| (found, table)));
        let (found, table) = found.map_or_else(|error| (Err(error), None), |(found, table)| (Ok(found), Some(table)));
        let outcome = (found != self.found).then(|| {
            let replaced = table.map(|table| live.replace(table).map_err(|error| error.to_string()));
            found.clone().map(drop).and(replaced.unwrap_or(Ok(())))
        });
        self.found = found;
        Some(Looked { plugin: self.plugin.clone(), table: live.now(), outcome })
    }
}

fn table(found: &Pairs) -> Result<Table, String> {
    let pairs = found.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Table::of_pairs(pairs).map_err(|error| error.to_string())
}

fn find(facts: &Facts, proc: &Path) -> Result<Pairs, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut found = vec![("os.type".to_owned(), std::env::consts::OS.to_owned())];
    found.push(("host.arch".to_owned(), arch.to_owned()));
    match read(&proc.join("sys/kernel/hostname")) {
        Ok(name) => found.push(("host.name".to_owned(), name.trim().to_owned())),
        Err(error) => tracing::warn!(event = "plugin.table", table = "host", %error, "the host's name is not known"),
    }
    found.extend(container_id(proc).map(|id| ("container.id".to_owned(), id)));
    for name in &facts.env {
        match std::env::var(name) {
            Ok(value) => found.push((format!("env.{name}"), value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                tracing::warn!(
                    event = "plugin.table",
                    table = "host",
                    "{name} cannot be read and is left out: it is not UTF-8"
                );
            }
        }
    }
    for (name, file) in &facts.files {
        found.push((name.clone(), read(file)?.trim_end().to_owned()));
    }
    for (prefix, file) in [("k8s.pod.label.", &facts.pod_labels), ("k8s.pod.annotation.", &facts.pod_annotations)] {
        let Some(file) = file else { continue };
        for (number, line) in read(file)?.lines().enumerate() {
            let pair = line.split_once('=').and_then(|(key, value)| Some((format!("{prefix}{key}"), unquoted(value)?)));
            let place = || format!("{}:{}: `key=\"value\"` is expected here", file.display(), number + 1);
            found.push(pair.ok_or_else(place)?);
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let mut text = String::new();
    open_regular(file).map_err(failed)?.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("{} has more than {FILE_BYTES} bytes", file.display()));
    }
    Ok(text)
}

/// The id of the container, from the names of control groups, else from where Docker keeps the container's
/// files. Other mounts name the pod's sandbox, which is another container.
fn container_id(proc: &Path) -> Option<String> {
    let text = |name: &str| read(&proc.join("self").join(name)).unwrap_or_default();
    let group = |line: &str| line.splitn(3, ':').nth(2)?.rsplit('/').find_map(id_of_group).map(str::to_owned);
    let mount = |line: &str| {
        let (before, after) = line.split(' ').nth(3)?.split_once("/containers/")?;
        let (id, file) = after.split_once('/')?;
        (is_id(id) && !before.contains("/pods/") && file == "hostname").then(|| id.to_owned())
    };
    text("cgroup").lines().find_map(group).or_else(|| text("mountinfo").lines().find_map(mount))
}

/// The id in the name of a control group: `ID`, `RUNTIME-ID.scope`, or `SLICE:RUNTIME:ID`.
fn id_of_group(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (runtime, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let runtime = runtime.rsplit(':').next().unwrap_or_default();
    (is_id(id) && (runtime.is_empty() || RUNTIMES.contains(&runtime))).then_some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What stands in the quotes, which Kubernetes writes as Go does.
fn unquoted(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut bytes = Vec::new();
    while let Some(char) = chars.next() {
        let char = match char {
            '"' => return None,
            '\\' => match chars.next()? {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                kept @ ('\\' | '"') => kept,
                'x' => {
                    // A byte that is no UTF-8.
                    bytes.push(u8::try_from(hex(&mut chars, 2)?).ok()?);
                    continue;
                }
                'u' => char::from_u32(hex(&mut chars, 4)?)?,
                'U' => char::from_u32(hex(&mut chars, 8)?)?,
                _ => return None,
            },
            plain => plain,
        };
        bytes.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |number, _| Some(number << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests;
