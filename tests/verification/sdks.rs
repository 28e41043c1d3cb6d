//! Requests that the SDKs of senders have signed (npm): what an SDK takes is let in, and what it refuses is not.
//! `tools/clients/senders-install` puts them into the folder that `TIDEGATE_TEST_TOOLS` names.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Hook, Server, unix_seconds};
use crate::skip::skip;

/// Cases of five SDKs: right, another secret, another body, and two times where one is signed.
const CASES: usize = 21;

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clients").join(name)
}

/// Requests as the SDKs sign them.
fn cases() -> Option<Vec<Value>> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        skip("the SDKs of senders", "TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    let folder = tools.join("senders");
    std::fs::create_dir_all(&folder).expect("a folder");
    let installed = Command::new(tool("senders-install")).arg(&folder).output().expect("a shell");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let asked = json!({
        "secrets": {
            "text": ["the secret of a sender", "the secret of another"],
            "whsec": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
            // Of RFC 8032, section 7.1.
            "seeds": [
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            ],
        },
        "now": unix_seconds(),
    });
    let mut node = Command::new("node")
        .arg(tool("senders.mjs"))
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut stdin = node.stdin.take().expect("a pipe");
    stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = node.wait_with_output().expect("its output");
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn status(server: &Server, hook: &Hook, case: &Value) -> u16 {
    let headers = case["headers"].as_object().expect("fields");
    let fields: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
    server.post(hook, &fields, case["body"].as_str().expect("text").as_bytes()).status
}

#[test]
fn what_an_sdk_takes_is_let_in_and_what_it_refuses_is_not() {
    let Some(cases) = cases() else { return };
    assert_eq!(cases.len(), CASES);
    for cores in ["1", "2"] {
        let server = Server::start(&[("TIDEGATE_CORES", cores)]);
        for case in &cases {
            let said = format!("{} {}", case["sender"], case["what"]);
            let wanted = if case["isTaken"] == true { 200 } else { 401 };
            let signature =
                |secret: Value| json!({"signature": {"scheme": case["scheme"], "secret": secret}});
            let hook = server.webhook(signature(case["secret"].clone()));
            assert_eq!(status(&server, &hook, case), wanted, "{said}");
            // While both count, and once the old one is gone.
            server.patch(&hook, &signature(json!([case["other"], case["secret"]])));
            let wanted_of_both = if case["what"] == "another secret" { 200 } else { wanted };
            assert_eq!(status(&server, &hook, case), wanted_of_both, "{said}, rotated");
            server.patch(&hook, &signature(case["other"].clone()));
            let wanted_of_other = if case["what"] == "another secret" { 200 } else { 401 };
            assert_eq!(status(&server, &hook, case), wanted_of_other, "{said}, taken away");
        }
    }
}
