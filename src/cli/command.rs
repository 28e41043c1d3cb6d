//! `--exec`: a command of the shell as the handler of a worker's triggers.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::handler::{ALIVE_EVERY, Handled, Handler, Trigger, printed_reply};
use super::output;
use crate::settings::secret_variables;

/// Runs a command for each trigger.
pub(super) struct ShellCommand(pub(super) String);

impl Handler for ShellCommand {
    fn handle(&mut self, trigger: &Trigger<'_>, alive: &mut dyn FnMut()) -> anyhow::Result<Handled> {
        match execute(&self.0, trigger.payload.get(), ALIVE_EVERY, alive) {
            // On a WebSocket, printing nothing sends nothing.
            Ok(printed) if printed.is_empty() && trigger.is_websocket => Ok(Handled::Ack),
            Ok(printed) => Ok(Handled::Reply(printed_reply(&printed))),
            Err(error) => {
                output::complain(&format!("{}: {error:#}", self.0));
                Ok(Handled::Failed)
            }
        }
    }
}

/// Runs a command with this on its standard input; what it printed, without the last line end. While it runs, `meanwhile`
/// is called this often.
///
/// # Errors
/// If it cannot be run or ends with another exit code than 0.
fn execute(
    command: &str,
    input: &str,
    often: Duration,
    mut meanwhile: impl FnMut(),
) -> anyhow::Result<Vec<u8>> {
    let mut shell = Command::new("sh");
    // It is somebody else's program, and works on what callers send.
    for name in secret_variables() {
        shell.env_remove(name);
    }
    let mut child = shell
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("it cannot be run")?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // It may print before it has read all, and need not read at all.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let (tell, told) = mpsc::channel();
        scope.spawn(move || tell.send(child.wait_with_output()));
        loop {
            match told.recv_timeout(often) {
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Ok(output) => break output.context("it cannot be waited for"),
                Err(RecvTimeoutError::Disconnected) => break Err(anyhow!("it cannot be waited for")),
            }
        }
    })?;
    anyhow::ensure!(output.status.success(), "{}", output.status);
    let mut printed = output.stdout;
    if printed.last() == Some(&b'\n') {
        printed.pop();
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_its_input_and_may_leave_it() {
        let execute = |command, input: &str| super::execute(command, input, ALIVE_EVERY, || {});
        assert_eq!(execute("cat", "in").unwrap(), b"in");
        assert_eq!(execute("printf 'a\\n\\n'", "").unwrap(), b"a\n");
        // More than a pipe holds, unread.
        assert_eq!(execute("echo done", &"x".repeat(1_000_000)).unwrap(), b"done");
        assert_eq!(execute("cat", &"x".repeat(1_000_000)).unwrap().len(), 1_000_000);
        assert!(execute("exit 3", "").unwrap_err().to_string().contains('3'));
    }

    #[test]
    fn a_command_that_runs_long_leaves_time_for_other_things() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meanwhile");
        // It ends because of what is done while it runs.
        let command = format!("until [ -e {} ]; do sleep 0.01; done; echo done", file.display());
        let meanwhile = || std::fs::write(&file, "").unwrap();
        assert_eq!(execute(&command, "", Duration::from_millis(1), meanwhile).unwrap(), b"done");
    }
}
