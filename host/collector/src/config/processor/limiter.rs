//! `memory_limiter`, with the Collector's keys: how many bytes of requests may be on their way in. The same
//! keys say it of one receiver.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Section;

/// The Collector's share of the limit that is kept free.
const SPIKE_SHARE: u64 = 5;

const MIB: u64 = 1 << 20;

/// Reads the settings; gives the budget in bytes: the limit less the spike, as the Collector begins
/// to refuse there.
pub(crate) fn read(section: Section<'_>) -> u64 {
    read_on(section, total_memory)
}

fn read_on(mut section: Section<'_>, total: impl Fn() -> Option<u64>) -> u64 {
    let mib = section.u64("limit_mib").filter(|mib| *mib > 0);
    let spike_mib = section.u64("spike_limit_mib").filter(|mib| *mib > 0);
    let percentage = percentage(&mut section, "limit_percentage");
    let spike_percentage = percentage_of_spike(&mut section, mib.is_some());
    // What these time is the garbage collector, and how often memory is looked at: here every byte is counted.
    for key in [
        "check_interval",
        "min_gc_interval_when_soft_limited",
        "min_gc_interval_when_hard_limited",
        "max_gc_interval_when_soft_limited",
        "max_gc_interval_when_hard_limited",
    ] {
        section.duration_or(key, Duration::ZERO);
    }
    let (limit, spike) = match (mib, percentage) {
        (Some(mib), _) => {
            let limit = mib.saturating_mul(MIB);
            (limit, spike_mib.map_or(limit / SPIKE_SHARE, |mib| mib.saturating_mul(MIB)))
        }
        (None, Some(percentage)) => {
            let total = total().unwrap_or_else(|| {
                let why = "this machine does not tell how much memory it has";
                section.error("limit_percentage", format!("`limit_percentage` cannot be used: {why}; use `limit_mib`"));
                MIB
            });
            let of = |percentage| (u128::from(total) * u128::from(percentage) / 100) as u64;
            let limit = of(percentage);
            (limit, spike_percentage.map_or(limit / SPIKE_SHARE, of))
        }
        (None, None) => {
            section.complain("`limit_mib` or `limit_percentage` is needed");
            (MIB, 0)
        }
    };
    if spike >= limit {
        let unit = if mib.is_some() { "mib" } else { "percentage" };
        let key = format!("spike_limit_{unit}");
        section.error(&key, format!("`{key}` must be smaller than `limit_{unit}`"));
    }
    section.finish();
    limit.saturating_sub(spike)
}

fn percentage(section: &mut Section<'_>, key: &str) -> Option<u64> {
    let percentage = section.u64(key).filter(|percentage| *percentage > 0);
    if percentage.is_some_and(|percentage| percentage > 100) {
        section.error(key, format!("`{key}` must be at most 100"));
    }
    percentage
}

/// With `limit_mib` it has no meaning, as in the Collector.
fn percentage_of_spike(section: &mut Section<'_>, is_fixed: bool) -> Option<u64> {
    percentage(section, "spike_limit_percentage").filter(|_| !is_fixed)
}

/// The memory that this process can have: the machine's, or less if its control groups say so.
fn total_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(limit_of_groups(Path::new("/sys/fs/cgroup"), &own).map_or(machine, |groups| groups.min(machine)))
}

/// The least of what the process's own control group and those around it may have, of version 2; `None` is no limit.
/// In a container the outermost that is seen is its own.
fn limit_of_groups(root: &Path, own: &str) -> Option<u64> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // `max`, or no such file, is no limit.
    let limit = |group: &Path| fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse().ok();
    Path::new(own).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::config::section::read_text;

    fn read(yaml: &str) -> (u64, Vec<String>) {
        let (bytes, problems) = read_text("l.yaml", yaml, |section| read_on(section, || Some(1000)));
        (bytes, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_budget_is_the_limit_less_the_spike() {
        // By hand: 500 MiB less a fifth; 100 less 10; 100 less a fifth; 75 % of 1000 bytes less a fifth; 80 % less 30 %.
        for (yaml, bytes) in [
            ("{ check_interval: 1s, limit_mib: 500 }", 400 << 20),
            ("{ limit_mib: 100, spike_limit_mib: 10 }", 90 << 20),
            ("{ limit_mib: 100, limit_percentage: 1, spike_limit_percentage: 90 }", 80 << 20),
            ("{ limit_percentage: 75 }", 600),
            ("{ limit_percentage: 80, spike_limit_percentage: 30 }", 500),
        ] {
            assert_eq!(read(yaml), (bytes, vec![]), "{yaml}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (yaml, told) in [
            ("{ check_interval: 1s }", "`limit_mib` or `limit_percentage` is needed"),
            ("{ limit_mib: 10, spike_limit_mib: 10 }", "`spike_limit_mib` must be smaller than `limit_mib`"),
            (
                "{ limit_percentage: 10, spike_limit_percentage: 10 }",
                "`spike_limit_percentage` must be smaller than `limit_percentage`",
            ),
            ("{ limit_percentage: 120 }", "`limit_percentage` must be at most 100"),
            ("{ limit_mib: 10, limit_mb: 10 }", "unknown key `limit_mb`; did you mean `limit_mib`?"),
        ] {
            let problems = read(yaml).1;
            assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
        }
    }

    #[test]
    fn the_least_of_all_control_groups_around_the_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = |name: &str, limit: &str| {
            fs::create_dir_all(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("memory.max"), limit).unwrap();
        };
        group("system.slice", "max\n");
        group("system.slice/edge.service", "5000\n");
        let limit = |own: &str| limit_of_groups(root.path(), own);
        // A service of systemd; the lines of version 1 are another hierarchy's.
        assert_eq!(limit("4:memory:/other\n0::/system.slice/edge.service\n"), Some(5000));
        assert_eq!(limit("0::/system.slice/other.service\n"), None);
        group("system.slice", "3000\n");
        assert_eq!(limit("0::/system.slice/edge.service\n"), Some(3000));
        // A container with a namespace of its own.
        group("", "7000\n");
        assert_eq!(limit("0::/\n"), Some(7000));
        // One that sees itself by the name that it has outside.
        assert_eq!(limit("0::/docker/3f4a\n"), Some(7000));
        assert_eq!(limit(""), Some(7000));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(total_memory().is_some_and(|bytes| bytes > 64 << 20));
    }
}
