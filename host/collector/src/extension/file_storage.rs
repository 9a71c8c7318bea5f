//! `file_storage`: a folder in which queues are kept, with the Collector's keys.

use std::time::Duration;

use crate::config::section::Section;
use crate::queue::Folder;

/// The Collector's.
const TIMEOUT: Duration = Duration::from_secs(1);
const PERMISSIONS: u32 = 0o750;

/// Reads the settings.
pub fn read(mut section: Section<'_>) -> Folder {
    let directory = section.path("directory");
    if directory.is_none() && !section.says("directory") {
        section.error("directory", "a `directory` is needed: somewhere that outlives the process");
    }
    let folder = Folder {
        directory: directory.unwrap_or_default(),
        create: section.bool_or("create_directory", true),
        permissions: permissions(&mut section),
        timeout: section.duration_or("timeout", TIMEOUT),
        fsync: section.bool_or("fsync", true),
        zstd: section.one_of("compression", &["none", "zstd"], "none") == "zstd",
    };
    section.unsupported("compaction", "space is given back as the queue drains");
    section.unsupported("recreate", "damage costs the damaged records and no others");
    section.finish();
    folder
}

/// `directory_permissions`: octal digits, as a string.
fn permissions(section: &mut Section<'_>) -> u32 {
    let Some(text) = section.str("directory_permissions") else { return PERMISSIONS };
    match u32::from_str_radix(&text, 8) {
        Ok(bits) if bits <= 0o777 => {
            if bits & 0o700 != 0o700 {
                let problem = "`directory_permissions`: the owner must be able to read, write and enter";
                section.error("directory_permissions", problem);
            }
            bits
        }
        _ => {
            let problem = "`directory_permissions` must be three or four octal digits, such as \"0750\"";
            section.error("directory_permissions", problem);
            PERMISSIONS
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::config::section::read_text;

    fn problems(yaml: &str) -> Vec<String> {
        read_text("s.yaml", yaml, read).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_collectors_keys_are_read_and_fsync_is_on() {
        let (folder, problems) = read_text("s.yaml", "directory: /var/q", read);
        assert!(problems.is_empty(), "{problems}");
        let expected = Folder {
            directory: "/var/q".into(),
            create: true,
            permissions: 0o750,
            timeout: Duration::from_secs(1),
            fsync: true,
            zstd: false,
        };
        assert_eq!(folder, expected);
        let yaml = "{ directory: /q, create_directory: false, directory_permissions: '0700', timeout: 5s, fsync: false, compression: zstd }";
        let (folder, problems) = read_text("s.yaml", yaml, read);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!((folder.create, folder.permissions, folder.fsync, folder.zstd), (false, 0o700, false, true));
        assert_eq!(folder.timeout, Duration::from_secs(5));
    }

    #[test]
    fn what_is_missing_or_not_supported_is_told_by_name() {
        for (yaml, told) in [
            ("{}", "a `directory` is needed"),
            ("{ directory: /q, compaction: { on_start: true } }", "`compaction` is not supported: space is given back"),
            ("{ directory: /q, compression: gzip }", "`compression` must be `none` or `zstd`"),
            ("{ directory: /q, recreate: true }", "`recreate` is not supported"),
            ("{ directory: /q, fsyncc: true }", "unknown key `fsyncc`; did you mean `fsync`?"),
            ("{ directory: /q, directory_permissions: '0999' }", "octal digits"),
            ("{ directory: /q, directory_permissions: '0077' }", "the owner"),
        ] {
            let problems = problems(yaml);
            assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
        }
    }
}
