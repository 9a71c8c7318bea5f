//! The place of a core's thread: a CPU of its own.
//!
//! The system moves threads about, and may have two of ours share a CPU for some 20 ms while another one idles or
//! compiles: a call of a plugin that does not come back then took twice its time until it was interrupted. A process
//! that may not use every CPU that it sees, as under a quota, leaves the choice to the system: others would be in the same places.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPU of the thread with this number of `count`; none if there are more CPUs than threads, or fewer.
pub(super) fn of(index: usize, count: usize) -> Option<usize> {
    nth(&sched_getaffinity(None).ok()?, index, count)
}

fn nth(allowed: &CpuSet, index: usize, count: usize) -> Option<usize> {
    if allowed.count() as usize != count {
        return None;
    }
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).nth(index)
}

/// Keeps this thread on a CPU. A system that does not do that serves all the same.
pub(super) fn keep(cpu: usize) {
    let mut own = CpuSet::new();
    own.set(cpu);
    let _ = sched_setaffinity(None, &own);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allowed(cpus: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu);
        }
        set
    }

    #[test]
    fn each_thread_has_a_cpu_of_its_own_if_there_are_as_many() {
        let set = allowed(&[1, 4, 6]);
        assert_eq!([0, 1, 2].map(|index| nth(&set, index, 3)), [Some(1), Some(4), Some(6)]);
        assert_eq!((nth(&set, 0, 2), nth(&set, 0, 4)), (None, None));
    }

    #[test]
    fn a_thread_stays_on_its_cpu() {
        std::thread::spawn(|| {
            let last = sched_getaffinity(None).map(|set| (0..CpuSet::MAX_CPU).rfind(|cpu| set.is_set(*cpu)));
            let last = last.unwrap().unwrap();
            keep(last);
            assert_eq!(of(0, 1), Some(last));
        })
        .join()
        .unwrap();
    }
}
