//! Signatures against the reference implementation of Standard Webhooks (`standardwebhooks` of npm), which
//! `tools/clients/webhooks-install` puts into the folder that `TIDEGATE_TEST_TOOLS` names.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::target::{Answer, Target};
use super::{call, node, serve};
use crate::common::skip::skip;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// The reference, installed.
fn reference() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        skip("Standard Webhooks of npm", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    let folder = tools.join("standardwebhooks");
    std::fs::create_dir_all(&folder).expect("a folder");
    let installed = Command::new(tool("webhooks-install")).arg(&folder).output().expect("a shell");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Some(folder)
}

fn tool(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(name)
}

/// Whether the reference takes a request.
fn verifies(folder: &Path, request: &Value) -> bool {
    let mut node = Command::new("node")
        .arg(tool("standardwebhooks.cjs"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node");
    let mut stdin = node.stdin.take().expect("a pipe");
    stdin.write_all(request.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = node.wait_with_output().expect("its output");
    output.status.success() && output.stdout == b"ok\n"
}

#[test]
fn the_reference_takes_every_attempt_under_each_secret_and_under_no_other() {
    let Some(folder) = reference() else { return };
    let target = Target::start(|number, _| Answer::status(if number == 0 { 500 } else { 200 }));
    let server = serve(1);
    let hook = server.webhook(json!({}));
    let fields = json!({"secret": [SECRET, OTHER], "retry": {"backoffSeconds": 0.001}});
    server.flow(&hook, json!([node(&target.url(""), fields)]));
    call(&server, &hook, 0..1);
    for received in target.wait_for(2) {
        let body = String::from_utf8(received.body.clone()).expect("JSON is text");
        let request =
            |secret: &str, body: &str| json!({"secret": secret, "headers": received.headers, "body": body});
        assert!(verifies(&folder, &request(SECRET, &body)));
        assert!(verifies(&folder, &request(OTHER, &body)));
        assert!(!verifies(&folder, &request("whsec_BAECAwQFBgcICQoLDA0ODxAREhMUFRYX", &body)));
        assert!(!verifies(&folder, &request(SECRET, &body.replace('0', "1"))));
    }
}
