//! Files that a plugin names itself when it takes its configuration, and what must hold before one is opened.

use serde_json::Value;

use super::{COLUMN_BYTES, Format};

/// The table that the host fills: no file has its name.
pub const HOST_TABLE: &str = "host";

/// Files of one plugin.
const MOST_FILES: usize = 16;

/// The name of a table is no longer. What else the plugin has written is cut here in messages.
const SHOWN_BYTES: usize = 200;

/// A file as a plugin names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The table's name.
    pub name: String,
    /// Where the file is, as it stands in the plugin's configuration.
    pub path: String,
    /// How it is written: 1 CSV, 2 JSON lines, 3 a `MaxMind` database.
    pub format: u32,
    /// The column by which rows are known; empty for a `MaxMind` database.
    pub key: String,
}

/// A file that may be opened for the plugin that has named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// What the plugin said.
    pub named: NamedFile,
    /// How it is written.
    pub format: Format,
    /// Where its path stands in the configuration, like `providers.maxmind.database_path`.
    pub place: String,
}

/// Why a plugin does not get the files that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotItsFile {
    /// They are too many.
    #[error("the plugin names {0} files; a plugin may have {MOST_FILES}")]
    TooMany(usize),
    /// The table's name is none.
    #[error(
        "the plugin names a file for the table `{0}`: a table's name must not be empty, must not end in `*`, must not be `{HOST_TABLE}`, and has {SHOWN_BYTES} bytes at most"
    )]
    Name(String),
    /// Two files for one table.
    #[error("the plugin names two files for the table `{0}`")]
    Twice(String),
    /// The format is unknown.
    #[error(
        "the plugin says that the file of the table `{0}` has the format {1}; there are 1 (CSV), 2 (JSON lines) and 3 (MaxMind)"
    )]
    Format(String, u32),
    /// No key where one is needed, one where there is none, or one that is too long.
    #[error(
        "the plugin's table `{0}`: CSV and JSON lines need the column by which rows are found, of {COLUMN_BYTES} bytes at most; a MaxMind database has none"
    )]
    Key(String),
    /// The operator has not written its path.
    #[error(
        "the plugin names the file `{0}`, which stands nowhere in its configuration: only a path that is written there is opened"
    )]
    NotInConfiguration(String),
}

impl Format {
    /// The format that has this number in the plugin contract.
    fn numbered(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Csv),
            2 => Some(Self::JsonLines),
            3 => Some(Self::MaxMind),
            _ => None,
        }
    }
}

impl OwnFile {
    /// Checks the files that a plugin with this configuration names, and finds where they stand in it.
    ///
    /// # Errors
    /// For the first that breaks a rule.
    pub fn check(files: Vec<NamedFile>, config_json: &str) -> Result<Vec<Self>, NotItsFile> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        if files.len() > MOST_FILES {
            return Err(NotItsFile::TooMany(files.len()));
        }
        // Nothing stands in what is no JSON.
        let config: Value = serde_json::from_str(config_json).unwrap_or_default();
        let mut all: Vec<Self> = Vec::new();
        for named in files {
            let table = || shown(&named.name);
            let is_long = named.name.len() > SHOWN_BYTES;
            if is_long || named.name.is_empty() || named.name.ends_with('*') || named.name == HOST_TABLE {
                return Err(NotItsFile::Name(table()));
            }
            if all.iter().any(|other| other.named.name == named.name) {
                return Err(NotItsFile::Twice(table()));
            }
            let format = Format::numbered(named.format).ok_or_else(|| NotItsFile::Format(table(), named.format))?;
            if named.key.is_empty() != (format == Format::MaxMind) || named.key.len() > COLUMN_BYTES {
                return Err(NotItsFile::Key(table()));
            }
            let place = if named.path.is_empty() { None } else { place(&config, &named.path) };
            let place = place.ok_or_else(|| NotItsFile::NotInConfiguration(shown(&named.path)))?;
            all.push(Self { named, format, place });
        }
        Ok(all)
    }
}

/// Where a text stands as a value, first. What `serde_json` has read is not too deep for this.
fn place(config: &Value, text: &str) -> Option<String> {
    let joined = |step: &str, rest: String| match rest {
        rest if rest.is_empty() || rest.starts_with('[') => format!("{step}{rest}"),
        rest => format!("{step}.{rest}"),
    };
    match config {
        Value::String(value) => (value == text).then(String::new),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(number, item)| Some(joined(&format!("[{number}]"), place(item, text)?)))
        }
        Value::Object(members) => members.iter().find_map(|(key, member)| Some(joined(key, place(member, text)?))),
        _ => None,
    }
}

fn shown(text: &str) -> String {
    text.get(..text.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(name: &str, path: &str, format: u32, key: &str) -> NamedFile {
        NamedFile { name: name.to_owned(), path: path.to_owned(), format, key: key.to_owned() }
    }

    fn refused(files: Vec<NamedFile>, config_json: &str) -> NotItsFile {
        OwnFile::check(files, config_json).unwrap_err()
    }

    #[test]
    fn a_path_is_found_where_it_stands() {
        let config = r#"{"a": {"b": ["x.csv", {"c d": "y.mmdb"}]}, "z.jsonl": 1, "e": ["z.jsonl"], "f": [["v.csv"]]}"#;
        let named = vec![
            file("x", "x.csv", 1, "id"),
            file("y", "y.mmdb", 3, ""),
            file("z", "z.jsonl", 2, "id"),
            file("v", "v.csv", 1, "id"),
        ];
        let files = OwnFile::check(named.clone(), config).unwrap();
        let places: Vec<_> = files.iter().map(|file| file.place.as_str()).collect();
        assert_eq!(places, ["a.b[0]", "a.b[1].c d", "e[0]", "f[0][0]"]);
        let formats: Vec<_> = files.iter().map(|file| file.format).collect();
        assert_eq!(formats, [Format::Csv, Format::MaxMind, Format::JsonLines, Format::Csv]);
        assert_eq!(files.into_iter().map(|file| file.named).collect::<Vec<_>>(), named);
    }

    #[test]
    fn only_a_path_that_is_written_is_opened() {
        for (path, config) in [
            ("/etc/shadow", r#"{"path": "x.csv"}"#),
            ("x.csv", r#"{"x.csv": true}"#),
            ("x.csv", r#"{"path": "./x.csv"}"#),
            ("x.csv", r#"{"path": "x.csv.gz"}"#),
            ("x.csv.gz", r#"{"path": "x.csv"}"#),
            ("tables/../../etc/shadow", r#"{"path": "tables", "other": ""}"#),
            ("7", r#"{"path": 7}"#),
            ("", r#"{"path": ""}"#),
            ("x.csv", "no JSON: x.csv"),
        ] {
            let expected = NotItsFile::NotInConfiguration(path.to_owned());
            assert_eq!(refused(vec![file("t", path, 1, "id")], config), expected, "{config}");
        }
        let long = "x".repeat(1000);
        let told = refused(vec![file("t", &long, 1, "id")], "{}");
        assert_eq!(told, NotItsFile::NotInConfiguration("x".repeat(200)));
    }

    #[test]
    fn what_a_plugin_says_of_a_file_must_fit() {
        let config = r#"{"path": "x"}"#;
        for name in ["", "t*", "*", "host"] {
            assert_eq!(refused(vec![file(name, "x", 1, "id")], config), NotItsFile::Name(name.to_owned()));
        }
        let (long, longest) = ("t".repeat(201), "t".repeat(200));
        assert_eq!(refused(vec![file(&long, "x", 1, "id")], config), NotItsFile::Name(longest.clone()));
        assert!(OwnFile::check(vec![file(&longest, "x", 1, &"k".repeat(1024))], config).is_ok());
        assert_eq!(refused(vec![file("t", "x", 1, &"k".repeat(1025))], config), NotItsFile::Key("t".to_owned()));
        for format in [0, 4, u32::MAX] {
            assert_eq!(refused(vec![file("t", "x", format, "")], config), NotItsFile::Format("t".to_owned(), format));
        }
        for (format, key) in [(1, ""), (2, ""), (3, "id")] {
            assert_eq!(refused(vec![file("t", "x", format, key)], config), NotItsFile::Key("t".to_owned()));
        }
        let twice = vec![file("t", "x", 1, "id"), file("t", "x", 1, "id")];
        assert_eq!(refused(twice, config), NotItsFile::Twice("t".to_owned()));
        let many = |files: u32| (0..files).map(|number| file(&number.to_string(), "x", 3, "")).collect::<Vec<_>>();
        assert_eq!(OwnFile::check(many(16), config).unwrap().len(), 16);
        assert_eq!(refused(many(17), config), NotItsFile::TooMany(17));
    }
}
