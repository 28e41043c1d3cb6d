//! `wrk` as a generator: a process of its own, which says how many answers it got once it has ended.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::servers::{self, Folder};
use super::table::{NOT_STARTED, WRONG_ANSWERS};
use crate::load::Plan;
use crate::system::Counters;
use crate::targets::Targets;

/// How long it may take beyond its duration: to start, to read many paths, to close.
const SPARE: Duration = Duration::from_secs(30);
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The outcome of a run, with what the server counted meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub answered: u64,
    pub elapsed: Duration,
    pub counters: Counters,
}

/// Puts the plan's load on its server from one CPU, for whole seconds, since `wrk` takes no others.
///
/// # Errors
/// If `wrk` is not installed, or an answer has another status than the plan expects.
pub fn run(plan: &Plan, time: Duration, pid: u32, cpu: usize) -> anyhow::Result<Run> {
    let folder = Folder::new()?;
    let script = folder.path().join("requests.lua");
    let mut paths = None;
    if let Targets::Lines(lines) = &plan.targets {
        let file = folder.path().join("paths.txt");
        fs::write(&file, lines.join("\n"))?;
        paths = Some(file.display().to_string());
    }
    fs::write(&script, lua(plan, paths.as_deref())?)?;
    let seconds = time.as_secs_f64().ceil().max(1.0) as u64;
    let output = folder.path().join("output.txt");
    let path = plan.targets.sole().unwrap_or("/");
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--connections", &plan.connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), "--timeout", "10s", "--script"]).arg(&script);
    command.arg(format!("http://{}{path}", plan.address)).stdout(File::create(&output)?);
    let before = Counters::of(pid)?;
    let child = servers::spawn(&mut command, Some(cpu)).with_context(|| format!("wrk {NOT_STARTED}"))?;
    wait(child, Duration::from_secs(seconds) + SPARE)?;
    let counters = Counters::of(pid)? - before;
    let answered = answers(&fs::read_to_string(&output)?, plan.expect.status)?;
    Ok(Run { answered, elapsed: Duration::from_secs(seconds), counters })
}

fn wait(mut child: Child, limit: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "wrk ended: {status}");
            return Ok(());
        }
        if began.elapsed() > limit {
            servers::stop(&mut child);
            bail!("wrk has not ended after {} s", limit.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// The script: `depth` requests at a time, to one path or to any of a file's.
fn lua(plan: &Plan, paths: Option<&str>) -> anyhow::Result<String> {
    let mut script =
        format!("wrk.method = '{}'\nwrk.body = '{}'\n", plan.method, std::str::from_utf8(&plan.body)?);
    for line in &plan.headers {
        let (name, value) = line.split_once(": ").context("a header line is `name: value`")?;
        writeln!(script, "wrk.headers['{name}'] = '{value}'")?;
    }
    match paths {
        Some(file) => {
            ensure!(plan.depth == 1, "wrk asks many paths one at a time here");
            writeln!(
                script,
                "local paths = {{}}\nfor line in io.lines('{file}') do paths[#paths + 1] = line end\n\
                 function request() return wrk.format(nil, paths[math.random(#paths)]) end"
            )?;
        }
        None => writeln!(
            script,
            "local requests\nfunction init(args)\n  requests = wrk.format():rep({})\nend\n\
             function request() return requests end",
            plan.depth
        )?,
    }
    Ok(script)
}

/// The number of answers, from `  123456 requests in 2.00s, 20.00MB read`. Answers other than 2xx and 3xx have a line of
/// their own: none if the expected status is one of those, else all of them.
pub(super) fn answers(text: &str, status: Option<u16>) -> anyhow::Result<u64> {
    let number_before = |words: [&str; 2]| {
        let all: Vec<&str> = text.split_whitespace().collect();
        let at = all.windows(2).position(|pair| pair == words)?;
        all.get(at.checked_sub(1)?)?.parse::<u64>().ok()
    };
    ensure!(!text.contains("Socket errors"), "{WRONG_ANSWERS}: {text}");
    let answered = number_before(["requests", "in"]).context("wrk says no number of requests")?;
    let others = text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:"));
    let others: u64 =
        others.map_or(Ok(0), |number| number.trim().parse()).context("a number of responses")?;
    let expected = if status.is_none_or(|status| (200..400).contains(&status)) { 0 } else { answered };
    ensure!(others == expected, "{WRONG_ANSWERS}: {others} of {answered} are not 2xx or 3xx");
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Protocol;

    #[test]
    fn the_number_of_answers_is_found_and_wrong_ones_are_refused() {
        let said = "Running 2s test @ http://127.0.0.1:1/\n  476104 requests in 2.00s, 61.29MB read\nRequests/sec: 238052.11\n";
        assert_eq!(answers(said, Some(200)).expect("a number"), 476_104);
        assert!(answers(said, Some(429)).is_err(), "none of them is a 429");
        let refused = format!("{said}  Non-2xx or 3xx responses: 476104\n");
        assert_eq!(answers(&refused, Some(429)).expect("a number"), 476_104);
        assert!(answers(&refused, Some(200)).is_err());
        assert!(answers(&format!("{said}  Socket errors: connect 0, read 7\n"), Some(200)).is_err());
        assert!(answers("unable to connect", Some(200)).is_err());
    }

    #[test]
    fn the_script_pipelines_or_chooses_paths() {
        let mut plan = Plan::new(Protocol::Http, ([127, 0, 0, 1], 1).into(), "/x");
        plan.headers.push("content-type: application/json".to_owned());
        plan.depth = 16;
        let script = lua(&plan, None).expect("a script");
        assert!(
            script.contains("wrk.headers['content-type'] = 'application/json'")
                && script.contains(":rep(16)")
        );
        plan.depth = 1;
        assert!(lua(&plan, Some("/tmp/paths")).expect("a script").contains("io.lines('/tmp/paths')"));
    }
}
