//! `sluice queue inspect`: what is in queues on disk, for a human or, as JSON, for a program.
//!
//! It changes nothing. A queue that is in use can be looked at; what is being written then looks torn.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use sluice_log::{Inspection, inspect};

/// Exit code if anything is damaged or lost.
const DAMAGED: u8 = 1;
/// Exit code if there is no queue to look at.
const NO_QUEUE: u8 = 2;

/// What queues' folders begin with, in the folder of an extension.
const PREFIX: &str = "exporter_";

/// Prints what is in a queue, or in all queues of a `file_storage`'s folder. 0 if all is sound.
pub fn run(dir: &Path, as_json: bool) -> ExitCode {
    match look(dir) {
        Ok(queues) => {
            let text = if as_json { format!("{}\n", whole(&queues)) } else { queues.iter().map(describe).collect() };
            let sound = queues.iter().all(|(_, inspection)| inspection.is_sound());
            match io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) if sound => ExitCode::SUCCESS,
                _ => ExitCode::from(DAMAGED),
            }
        }
        Err(reason) => {
            // Nothing is left to be done if that fails, too.
            let _ = writeln!(io::stderr(), "error: {reason}");
            ExitCode::from(NO_QUEUE)
        }
    }
}

fn look(dir: &Path) -> Result<Vec<(PathBuf, Inspection)>, String> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
    let (mut queues, mut is_queue) = (Vec::new(), false);
    for entry in entries {
        let path = entry.map_err(|error| format!("cannot read {}: {error}", dir.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && path.is_dir() {
            queues.push(path);
        } else if name == "cursor" || path.extension().is_some_and(|extension| extension == "seg") {
            is_queue = true;
        }
    }
    if is_queue {
        queues = vec![dir.to_owned()];
    }
    if queues.is_empty() {
        return Err(format!(
            "there is no queue in {}; name the `directory` of a `file_storage` extension, or a folder in it",
            dir.display()
        ));
    }
    queues.sort();
    let inspected = |dir: PathBuf| match inspect(&dir) {
        Ok(inspection) => Ok((dir, inspection)),
        Err(error) => Err(error.to_string()),
    };
    queues.into_iter().map(inspected).collect()
}

fn describe((dir, found): &(PathBuf, Inspection)) -> String {
    let sum = |of: fn(&sluice_log::SegmentReport) -> u64| found.segments.iter().map(of).sum::<u64>();
    let mut text = format!("{}\n", dir.display());
    // Writing into a string does not fail.
    let _ = writeln!(
        text,
        "  waiting: {} records, {} spans; on disk: {} records, {} spans, {} bytes in {} segments",
        sum(|segment| segment.waiting_records),
        sum(|segment| segment.waiting_spans),
        sum(|segment| segment.records),
        sum(|segment| segment.spans),
        sum(|segment| segment.bytes),
        found.segments.len(),
    );
    let compressed = sum(|segment| segment.compressed_records);
    if compressed > 0 {
        let plain = sum(|segment| segment.plain_bytes);
        let _ = writeln!(text, "  {compressed} records are compressed; all would take {plain} bytes if none were");
    }
    for segment in &found.segments {
        let _ = writeln!(
            text,
            "  segment {}: waiting: {} records, {} spans; on disk: {} records, {} spans, {} bytes{}{}",
            segment.number,
            segment.waiting_records,
            segment.waiting_spans,
            segment.records,
            segment.spans,
            segment.bytes,
            if segment.torn_bytes > 0 {
                format!("; {} bytes at its end were never acknowledged", segment.torn_bytes)
            } else {
                String::new()
            },
            if segment.header_damaged { "; one of its two headers is damaged" } else { "" },
        );
    }
    for damage in &found.damaged {
        let what = if damage.lost { "records that were waiting are lost" } else { "nothing that was waiting is lost" };
        let _ = writeln!(text, "  DAMAGED: segment {}, bytes {} to {}: {what}", damage.segment, damage.from, damage.to);
    }
    for number in &found.damaged_segments {
        let _ = writeln!(text, "  DAMAGED: segment {number} cannot be read at all");
    }
    if found.cursor_damaged {
        text.push_str("  DAMAGED: what was delivered is not known; all that is on disk will be delivered again\n");
    }
    if found.lost.records > 0 {
        let _ = writeln!(text, "  LOST: {} records, {} spans", found.lost.records, found.lost.spans);
    }
    text
}

fn whole(queues: &[(PathBuf, Inspection)]) -> Value {
    let sound = queues.iter().all(|(_, inspection)| inspection.is_sound());
    json!({ "sound": sound, "queues": queues.iter().map(as_json).collect::<Vec<_>>() })
}

fn as_json((dir, found): &(PathBuf, Inspection)) -> Value {
    let segments = found.segments.iter().map(|segment| {
        json!({
            "number": segment.number,
            "created_unix_nano": segment.unix_nano,
            "bytes": segment.bytes,
            "records": segment.records,
            "spans": segment.spans,
            "compressed_records": segment.compressed_records,
            "plain_bytes": segment.plain_bytes,
            "waiting_records": segment.waiting_records,
            "waiting_spans": segment.waiting_spans,
            "torn_bytes": segment.torn_bytes,
            "header_damaged": segment.header_damaged,
        })
    });
    let damaged = found
        .damaged
        .iter()
        .map(|damage| json!({ "segment": damage.segment, "from": damage.from, "to": damage.to, "lost": damage.lost }));
    json!({
        "directory": dir.display().to_string(),
        "sound": found.is_sound(),
        "segments": segments.collect::<Vec<_>>(),
        "damaged": damaged.collect::<Vec<_>>(),
        "damaged_segments": found.damaged_segments,
        "cursor_damaged": found.cursor_damaged,
        "lost_records": found.lost.records,
        "lost_spans": found.lost.spans,
    })
}
