//! The machine and the programs that a table was measured with.

use std::fs;
use std::process::Command;

use super::Settings;
use crate::system;

/// Lines of a list: without them a figure cannot be compared with that of another run.
#[must_use]
pub fn facts(settings: &Settings, rounds: usize, command: &str) -> String {
    let cpus = system::cpus();
    let mut lines = vec![
        format!(
            "Made by `{command}`; {rounds} rounds of {:.1} s for each server and way.",
            settings.time.as_secs_f64()
        ),
        format!(
            "{}, {} CPUs of which it may use {}, Linux {}.",
            cpu_model(),
            cpus_present(),
            cpus.len(),
            kernel()
        ),
        format!(
            "Server and generator share CPU {} but for two CPUs, where the server has CPU {}.",
            cpus.last().copied().unwrap_or(0),
            cpus.first().copied().unwrap_or(0)
        ),
    ];
    let versions: Vec<String> =
        [("nginx", "-v"), ("wrk", "-v")].iter().map(|(program, flag)| version(program, flag)).collect();
    lines.push(format!("{}; {}.", tidegate(settings), versions.join("; ")));
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("an unnamed CPU", |(_, model)| model.trim()).to_owned()
}

fn cpus_present() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The program that was measured: its version and size, which tell two builds apart.
fn tidegate(settings: &Settings) -> String {
    let printed = Command::new(&settings.tidegate).arg("--version").output();
    let version = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let bytes = fs::metadata(&settings.tidegate).map_or(0, |file| file.len());
    let build = settings.build.as_deref().map_or(String::new(), |build| format!(" of {build}"));
    format!("{}{build}, {bytes} bytes", version.unwrap_or_else(|_| "tidegate".to_owned()))
}

/// The first line that a program prints of itself, which `wrk` and nginx do on different outputs.
fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return format!("no {program}") };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    line.split(" Copyright").next().unwrap_or_default().trim().to_owned()
}
