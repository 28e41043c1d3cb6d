//! The published clients of the API's shapes, unchanged, against a running server: `tools/clients/losant.mjs` (npm)
//! and `tools/clients/losant.py` (PyPI). `tools/clients/install` puts them into the folder that
//! `TIDEGATE_TEST_TOOLS` names. It asks the registries for them, so these tests run only where that is set.

#[path = "verification/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of verification, which use all of it")]
mod harness;

#[path = "common/skip.rs"]
mod skip;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use harness::{ACCESS_TOKEN, Server};

/// Where the packages are; installed once, by whichever test comes first.
fn clients() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        skip::skip("clients of npm and PyPI", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let folder = tools.join("losant");
    // Two processes that install at once would meet in one folder.
    std::fs::create_dir_all(&folder).expect("a folder");
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let installed = Command::new(tool("install")).arg(&folder).output().expect("a shell");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Some(folder)
}

fn tool(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(name)
}

#[track_caller]
fn run(program: &str, script: &str, more: &[&str]) {
    let Some(folder) = clients() else { return };
    let server = Server::start(&[]);
    let output = Command::new(program)
        .arg(tool(script))
        .arg(folder)
        .arg(format!("http://{}", server.admin))
        .arg(ACCESS_TOKEN)
        .args(more)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter is there");
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(output.stdout, b"ok\n");
}

#[test]
fn the_client_on_npm_works_unchanged() {
    run("node", "losant.mjs", &[]);
}

#[test]
fn the_newest_client_on_npm_works_unchanged() {
    run("node", "losant.mjs", &["newest"]);
}

#[test]
fn the_client_on_pypi_works_unchanged() {
    run("python3", "losant.py", &[]);
}
