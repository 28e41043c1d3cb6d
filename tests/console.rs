//! The console in a browser, as a person uses it: a server on ports of its own, and `tools/console/drive.mjs`, which
//! says what it checks. It needs Node.js, a Chromium and npm packages, so that it runs only through
//! `tools/console/run.sh`, a suite of its own of `tools/test`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "a-token-for-the-console-tests";

/// How long a server may take to come up or to go down.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and the folder that it works on.
struct Server {
    process: Option<Child>,
    data: std::path::PathBuf,
    ingress: String,
    admin: String,
}

impl Server {
    fn start(data: &Path, ingress: &str, admin: &str) -> Server {
        let addresses = data.join("addresses.json");
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            // A variable of the tests, which the program would not know.
            .env_remove("TIDEGATE_TEST_TOOLS")
            .env("TIDEGATE_DATA", data)
            .env("TIDEGATE_CORES", "2")
            .env("TIDEGATE_INGRESS_LISTEN", ingress)
            .env("TIDEGATE_ADMIN_LISTEN", admin)
            .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_ACCESS_TOKEN", TOKEN)
            .env("TIDEGATE_JOURNAL_DURABILITY", "memory")
            .env("TIDEGATE_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Server {
            process: Some(process),
            data: data.to_owned(),
            ingress: String::new(),
            admin: String::new(),
        };
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read(&addresses)
                && let Ok(found) = serde_json::from_slice::<serde_json::Value>(&text)
            {
                server.ingress = found["ingress"].as_str().expect("an address").to_owned();
                server.admin = found["admin"].as_str().expect("an address").to_owned();
                return server;
            }
            let ended =
                server.process.as_mut().and_then(|process| process.try_wait().expect("its state is known"));
            assert!(ended.is_none(), "the server ended: {ended:?}");
            assert!(Instant::now() < end, "the server never said where it listens");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as an operator does, and waits until it is gone.
    fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told");
        let end = Instant::now() + PATIENCE;
        while process.try_wait().expect("its state is known").is_none() {
            if Instant::now() > end {
                process.kill().expect("it can be ended");
                panic!("the server did not stop");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
#[ignore = "tools/console/run.sh runs it, with a browser and the packages that drive it"]
fn a_person_can_do_everything_in_the_console() {
    assert!(std::env::var_os("CONSOLE_MODULES").is_some(), "tools/console/run.sh names the packages");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(folder.path(), "127.0.0.1:0", "127.0.0.1:0");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/console/drive.mjs");
    let mut driver = Command::new("node")
        .arg(script)
        .env("CONSOLE_ADMIN", format!("http://{}", server.admin))
        .env("CONSOLE_TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js is there");
    let mut answers = driver.stdin.take().expect("piped");
    let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    for line in lines {
        let line = line.expect("text");
        match line.as_str() {
            "stop" => server.stop(),
            // The same ports, so that the page finds it again.
            "start" => server = Server::start(&server.data, &server.ingress, &server.admin),
            told => {
                println!("{told}");
                continue;
            }
        }
        answers.write_all(b"done\n").expect("the driver listens");
    }
    assert!(driver.wait().expect("it ended").success(), "a step failed; see above");
    server.stop();
}
