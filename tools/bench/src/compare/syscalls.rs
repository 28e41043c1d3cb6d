//! System calls of a process, counted from outside: by the kernel's tracepoint where `perf` may use it, which costs the
//! process little, else by `strace -c`, which makes it several times slower.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::servers::{self, Folder};

const TRACEPOINT: &str = "raw_syscalls:sys_enter";
/// How long either takes to attach.
const ATTACHING: Duration = Duration::from_millis(400);

/// A count that goes on.
pub struct Count {
    child: Child,
    folder: Folder,
    is_perf: bool,
}

impl Count {
    /// Begins to count the calls of all threads of a process.
    ///
    /// # Errors
    /// If neither program can attach to it.
    pub fn start(pid: u32) -> anyhow::Result<Count> {
        let folder = Folder::new()?;
        let output = folder.path().join("count.txt");
        let pid = pid.to_string();
        for is_perf in [true, false] {
            let mut command = if is_perf {
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x", ",", "-e", TRACEPOINT, "-p", &pid, "-o"]).arg(&output);
                perf
            } else {
                let mut strace = Command::new("strace");
                strace.args(["-c", "-f", "-q", "-p", &pid, "-o"]).arg(&output);
                strace
            };
            let Ok(mut child) = servers::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()), None)
            else {
                continue;
            };
            std::thread::sleep(ATTACHING);
            if matches!(child.try_wait(), Ok(None)) {
                return Ok(Count { child, folder, is_perf });
            }
        }
        bail!("neither perf (with the tracepoint {TRACEPOINT}) nor strace can count its system calls")
    }

    /// Ends the count.
    ///
    /// # Errors
    /// If the program printed no count.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        servers::interrupt(&mut self.child);
        let text = fs::read_to_string(self.folder.path().join("count.txt"))?;
        let count = if self.is_perf { parse_perf(&text) } else { parse_strace(&text) };
        count.with_context(|| format!("no count of system calls in {text:?}"))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        servers::stop(&mut self.child);
    }
}

/// From `123456,,raw_syscalls:sys_enter,1000,100.00,,`.
fn parse_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(TRACEPOINT))?.split(',').next()?.parse().ok()
}

/// From the last line of the table, `100.00    0.012345           5      2345        12 total`.
fn parse_strace(text: &str) -> Option<u64> {
    let total = text.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_the_programs_print() {
        let perf = "# started on Mon\n\n123456,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(parse_perf(perf), Some(123_456));
        assert_eq!(parse_perf("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n 60.0 0.01 5 2000  read\n\
                      ------ ----------- ----------- --------- --------- ----------------\n100.00    0.012345           5      2345        12 total\n";
        assert_eq!(parse_strace(strace), Some(2345));
        assert_eq!(parse_strace(""), None);
    }
}
