//! The system's figures about this process, for the metrics page: the names are those of Prometheus' own client
//! libraries.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::store::MODEL_FILE;

/// A gauge or a counter of one series.
struct ProcessSample {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: f64,
}

/// Appends `process_*`; what the system does not tell is left out.
pub(crate) fn render(page: &mut String, folder: &Path) {
    let stat = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
    let mut samples = Vec::new();
    let mut sample = |name, kind, help, value: Option<f64>| {
        samples.extend(value.map(|value| ProcessSample { name, kind, help, value }));
    };
    let stat = stat.as_ref();
    sample(
        "process_cpu_seconds_total",
        "counter",
        "CPU time, of the user and of the system.",
        stat.map(|stat| stat.cpu.as_secs_f64()),
    );
    sample(
        "process_resident_memory_bytes",
        "gauge",
        "Memory that is resident.",
        stat.map(|stat| stat.resident_bytes as f64),
    );
    sample(
        "process_virtual_memory_bytes",
        "gauge",
        "Memory that is mapped.",
        stat.map(|stat| stat.virtual_bytes as f64),
    );
    sample("process_threads", "gauge", "Threads.", stat.map(|stat| stat.threads as f64));
    sample(
        "process_start_time_seconds",
        "gauge",
        "Start of the process, in seconds since 1970.",
        stat.and_then(|stat| Some(boot_seconds()? + stat.start.as_secs_f64())),
    );
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    // The listing itself is one of them.
    sample("process_open_fds", "gauge", "Open files.", open.map(|open| open.saturating_sub(1) as f64));
    sample(
        "process_max_fds",
        "gauge",
        "Most open files.",
        getrlimit(Resource::Nofile).current.map(|most| most as f64),
    );
    let database = std::fs::metadata(folder.join(MODEL_FILE)).ok();
    sample(
        "tidegate_database_bytes",
        "gauge",
        "Size of the model's database.",
        database.map(|database| database.len() as f64),
    );
    for ProcessSample { name, kind, help, value } in samples {
        // A string takes everything.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

/// Parts of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: Duration,
    threads: u64,
    /// Since the system started.
    start: Duration,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name in parentheses may hold any sign; what follows it begins with field 3.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = |count: u64| Duration::from_secs_f64(count as f64 / clock_ticks_per_second() as f64);
        Some(Stat {
            cpu: ticks(field(14)? + field(15)?),
            threads: field(20)?,
            start: ticks(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as u64,
        })
    }
}

/// Start of the system, in seconds since 1970.
fn boot_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_strange_name() {
        let text = "42 (a) b ( c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1000 4096000 25 1 2";
        let stat = Stat::parse(text).expect("a line");
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(stat.cpu.as_secs_f64(), 300.0 / ticks);
        assert_eq!((stat.threads, stat.virtual_bytes), (7, 4_096_000));
        assert_eq!(stat.resident_bytes, 25 * page_size() as u64);
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn the_page_tells_of_this_process() {
        let mut page = String::new();
        render(&mut page, Path::new("/nowhere"));
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name} in {page}");
        }
        assert!(!page.contains("tidegate_database_bytes"));
    }
}
