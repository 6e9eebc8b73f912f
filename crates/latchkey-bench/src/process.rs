//! Processor time and memory of processes.

use std::{fs, time::Duration};

/// Processes on this machine, by id. Numbers are sums over all of them.
#[derive(Clone, Debug)]
pub struct Process(pub Vec<u32>);

impl Process {
    /// Returns the processor time of all threads, from the scheduler's statistics.
    pub fn cpu(&self) -> Duration {
        self.0.iter().map(|id| threads(*id)).sum()
    }

    /// Returns the resident memory in KiB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Returns the peak of the resident memory in KiB.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let of = |id: &u32| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            line.trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or_default()
        };
        self.0.iter().map(of).sum()
    }
}

fn threads(id: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else {
        return Duration::ZERO;
    };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
