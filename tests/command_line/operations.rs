//! What people do to a server from a shell besides making things: URLs, globals, formats, deletions that ask, documents,
//! backups, dead letters, completions and manual pages.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FREE_PORTS, Server, err, folder, get, json_of, out, run, tidegate};

fn served(folder: &Path) -> Server {
    Server::start(folder, &FREE_PORTS, &[])
}

/// The same program on a terminal of its own, by util-linux's `script`; what was typed comes from standard input.
fn on_a_terminal(folder: &Path, arguments: &str, typed: &str) -> Output {
    let input = folder.join("typed");
    std::fs::write(&input, typed).expect("written");
    let mut command = Command::new("script");
    let asked = format!("{} {arguments}", env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(["-qec", &asked, "/dev/null"])
        .current_dir(folder)
        .stdin(std::fs::File::open(input).expect("is there"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.output().expect("util-linux is there")
}

#[test]
fn create_and_show_print_the_url_and_url_prints_it_alone() {
    let folder = folder();
    let _server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let made = json_of(&run(&["webhook", "create", "in", "--set", "responseCode=202"]));
    let url = made["url"].as_str().expect("a URL").to_owned();
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with(made["token"].as_str().expect("a token")),
        "{url}"
    );
    assert_eq!(json_of(&run(&["webhook", "show", "in"]))["url"], url.as_str());
    assert_eq!(out(&run(&["webhook", "url", "in"])), format!("{url}\n"));
    let (authority, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    assert_eq!(get(TcpStream::connect(authority).expect("connects"), &format!("/{path}")).0, 202);
    let rotated = json_of(&run(&["webhook", "rotate", "in"]));
    assert_ne!(rotated["url"], url.as_str());
    let socket = json_of(&run(&["webhook", "create", "ws", "--set", "isWebsocket=true"]));
    assert!(socket["url"].as_str().expect("a URL").starts_with("ws://"), "{socket}");
    // What was shown can be sent back.
    std::fs::write(folder.path().join("shown.json"), made.to_string()).expect("written");
    json_of(&run(&["webhook", "set", "in", "--json", "shown.json"]));
}

#[test]
fn options_stand_before_or_behind_the_command() {
    let folder = folder();
    let server = served(folder.path());
    let data = folder.path().join("tidegate-data").display().to_string();
    let addresses: Value = serde_json::from_slice(
        &std::fs::read(folder.path().join("tidegate-data/addresses.json")).expect("is there"),
    )
    .expect("JSON");
    let url = format!("http://{}", addresses["admin"].as_str().expect("an address"));
    let elsewhere = super::folder();
    for arguments in [
        &["--data", &data, "webhook", "list", "-o", "json"][..],
        &["webhook", "--data", &data, "-o", "json", "list"],
        &["webhook", "list", "--data", &data, "-o", "json"],
        &["--data", &data, "--server", &url, "webhook", "list", "-o", "json"],
        &["webhook", "list", "--data", &data, "--server", &url, "--json"],
    ] {
        let listed = json_of(&run(elsewhere.path(), arguments));
        assert_eq!(listed[0]["name"], "hello", "{arguments:?}");
    }
    for (arguments, expected) in [
        (&["--cores", "2", "webhook", "list"][..], "--cores before webhook"),
        (&["--cores", "2", "serve"], "--cores before serve: it stands after it"),
        (&["--server", &url], "--server is for the commands that talk to a server"),
        (&["serve", "--server", &url], "--server is for"),
        (&["--server", &url, "check"], "--server is for"),
    ] {
        let output = run(elsewhere.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
    drop(server);
}

#[test]
fn an_answer_is_a_table_json_or_yaml() {
    let folder = folder();
    let _server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let table = out(&run(&["webhook", "show", "hello", "-o", "table"]));
    assert!(
        table.starts_with("FIELD") && table.contains("\nwaitForReply") && table.contains("\nurl "),
        "{table}"
    );
    let yaml = out(&run(&["webhook", "show", "hello", "-o", "yaml"]));
    assert!(yaml.contains("\nname: hello\n") && yaml.contains("\nwaitForReply: true\n"), "{yaml}");
    let json = json_of(&run(&["webhook", "list", "-o", "json"]));
    let read: Value = serde_saphyr::from_str(&out(&run(&["webhook", "list", "-o", "yaml"]))).expect("YAML");
    assert_eq!(read, json);
    for arguments in [
        &["app", "list"][..],
        &["flow", "list"],
        &["global", "list"],
        &["token", "list"],
        &["deadletters", "list", "Say hello"],
        &["webhook", "presets"],
        &["tail", "hello", "--no-follow"],
    ] {
        for format in ["table", "json", "yaml"] {
            let output = run(&[arguments, &["-o", format]].concat());
            assert!(output.status.success(), "{arguments:?} -o {format}: {}", err(&output));
        }
    }
    assert_eq!(run(&["webhook", "list", "-o", "xml"]).status.code(), Some(2));
}

#[test]
fn a_deletion_asks_on_a_terminal_alone() {
    let folder = folder();
    let _server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    json_of(&run(&["webhook", "create", "one"]));
    let refused = on_a_terminal(folder.path(), "webhook delete one", "n\n");
    assert_eq!(refused.status.code(), Some(1), "{}", out(&refused));
    assert!(
        out(&refused).contains("Delete the webhook \"one\"? [y/N]")
            && out(&refused).contains("nothing was changed")
    );
    json_of(&run(&["webhook", "show", "one"]));
    let done = on_a_terminal(folder.path(), "webhook delete one", "y\n");
    assert!(done.status.success(), "{}", out(&done));
    assert_eq!(run(&["webhook", "show", "one"]).status.code(), Some(1));

    json_of(&run(&["webhook", "create", "two"]));
    let unasked = on_a_terminal(folder.path(), "webhook delete two --yes", "");
    assert!(unasked.status.success() && !out(&unasked).contains("[y/N]"), "{}", out(&unasked));
    // Without a terminal nobody can be asked.
    json_of(&run(&["webhook", "create", "three"]));
    assert!(run(&["webhook", "delete", "three"]).status.success());
}

#[test]
fn an_ambiguous_name_lists_its_candidates_and_a_read_only_field_is_refused() {
    let folder = folder();
    let _server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let one = json_of(&run(&["webhook", "create", "a*b", "--set", "description=the first"]))["id"].clone();
    let two = json_of(&run(&["webhook", "create", "a*b"]))["id"].clone();
    // It fits the name as a pattern, and does not have it.
    json_of(&run(&["webhook", "create", "aXb"]));
    let said = err(&run(&["webhook", "show", "a*b"]));
    assert!(said.starts_with("tidegate: 2 webhooks have the name \"a*b\""), "{said}");
    for part in [one.as_str().expect("an id"), two.as_str().expect("an id"), "the first"] {
        assert!(said.contains(part), "{said}");
    }
    for (arguments, expected) in [
        (&["webhook", "set", "hello", "token=abcdefgh"][..], "token is read-only: `tidegate webhook rotate`"),
        (&["webhook", "create", "x", "--set", "id=1"], "id is read-only"),
        (&["flow", "set", "Say hello", "lastUpdated=now"], "lastUpdated is read-only"),
        (&["app", "set", "x", "creationDate=now"], "creationDate is read-only"),
        (&["webhook", "set", "hello", "url=http://a"], "url is read-only"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
    json_of(&run(&["app", "create", "second"]));
    let said = err(&run(&["webhook", "list"]));
    assert!(
        said.contains("there are 2 applications") && said.contains("\"second\"") && said.contains("--app"),
        "{said}"
    );
}

#[test]
fn globals_are_set_shown_and_deleted_and_triggers_name_webhooks() {
    let folder = folder();
    let _server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    assert!(run(&["global", "set", "limit=1.50", "greeting=good day", "list=[1, 2]"]).status.success());
    assert_eq!(out(&run(&["global", "show", "limit"])), "1.50\n");
    assert_eq!(out(&run(&["global", "show", "greeting"])), "\"good day\"\n");
    let table = out(&run(&["global", "list"]));
    assert!(table.starts_with("KEY") && table.contains("list      [1, 2]"), "{table}");
    assert!(run(&["global", "delete", "limit", "list"]).status.success());
    assert_eq!(json_of(&run(&["global", "list", "-o", "json"])).as_array().map(Vec::len), Some(1));
    let absent = run(&["global", "delete", "limit"]);
    assert!(err(&absent).contains("no global has the key \"limit\""), "{}", err(&absent));
    assert_eq!(run(&["global", "set", "novalue"]).status.code(), Some(2));

    let id = json_of(&run(&["webhook", "show", "hello"]))["id"].clone();
    let flow = json!({"triggers": [{"type": "webhook", "key": "hello"}, {"type": "timer", "key": "hello"}]});
    std::fs::write(folder.path().join("flow.json"), flow.to_string()).expect("written");
    let flow = json_of(&run(&["flow", "create", "by name", "--json", "flow.json"]));
    assert_eq!((&flow["triggers"][0]["key"], &flow["triggers"][1]["key"]), (&id, &json!("hello")));
    let said = err(&run(&["flow", "set", "by name", "triggers=[{\"type\":\"webhook\",\"key\":\"none\"}]"]));
    assert!(said.contains("no webhook has the id or the name \"none\""), "{said}");
}

#[test]
fn an_application_goes_out_as_a_document_and_comes_back() {
    let (folder, elsewhere) = (folder(), super::folder());
    let server = served(folder.path());
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    json_of(&run(&[
        "webhook",
        "create",
        "guarded",
        "--set",
        "signature={\"scheme\":\"github\",\"secret\":\"planted-1\"}",
    ]));
    assert!(run(&["global", "set", "k=1"]).status.success());
    let exported = run(&["export"]);
    let text = out(&exported);
    assert!(text.contains("\n  \"webhooks\": [\n") && !text.contains("planted"), "{text}");
    std::fs::write(folder.path().join("app.json"), &text).expect("written");
    std::fs::write(folder.path().join("app.yaml"), out(&run(&["export", "-o", "yaml"]))).expect("written");
    for file in ["app.json", "app.yaml"] {
        let again = run(&["import", file]);
        assert_eq!(err(&again), "0 created, 0 changed, 0 deleted, 4 unchanged\n", "{file}");
        assert_eq!(out(&again), "");
    }
    json_of(&run(&["webhook", "create", "extra"]));
    json_of(&run(&["webhook", "set", "hello", "description=changed"]));
    let planned = run(&["import", "app.json", "--prune", "--dry-run"]);
    assert!(
        err(&planned).contains("nothing was done: 0 created, 1 changed, 1 deleted, 3 unchanged"),
        "{}",
        err(&planned)
    );
    let kept = on_a_terminal(folder.path(), "import app.json --prune", "n\n");
    assert!(
        kept.status.code() == Some(1) && out(&kept).contains("Delete 1 and do the rest?"),
        "{}",
        out(&kept)
    );
    let report = json_of(&run(&["import", "app.json", "--prune", "-o", "json"]));
    assert_eq!(
        (&report["changed"], &report["deleted"], &report["dryRun"]),
        (&json!(1), &json!(1), &json!(false))
    );
    let table = out(&run(&["webhook", "list"]));
    assert!(!table.contains("extra"), "{table}");

    // A copy on the same server goes by names; the secret has to be given.
    let copy = out(&run(&["export", "--no-ids", "-o", "yaml"]));
    let copy = copy.replacen("name: Demonstration", "name: copy", 1).replace("secret: '***'", "secret: s");
    let copy = copy.replace("secret: \"***\"", "secret: s");
    std::fs::write(folder.path().join("copy.yaml"), &copy).expect("written");
    let imported = run(&["import", "copy.yaml"]);
    assert!(err(&imported).contains("4 created, 0 changed"), "{}{copy}", err(&imported));
    let said = err(&run(&["import", "absent.json"]));
    assert!(said.contains("absent.json cannot be read"), "{said}");
    std::fs::write(folder.path().join("bad.yaml"), "webhooks:\n- limits: [\n").expect("written");
    let bad = run(&["import", "bad.yaml"]);
    assert!(bad.status.code() == Some(2) && err(&bad).contains("bad.yaml: is not YAML"), "{}", err(&bad));

    // The file of a backup is a server's.
    assert!(run(&["backup", "copy.redb"]).status.success());
    let webhooks = json_of(&run(&["webhook", "list", "--app", "copy", "-o", "json"]));
    drop(server);
    std::fs::create_dir(elsewhere.path().join("tidegate-data")).expect("made");
    std::fs::copy(folder.path().join("copy.redb"), elsewhere.path().join("tidegate-data/model.redb"))
        .expect("copied");
    let _restored = served(elsewhere.path());
    let there = json_of(&super::run(elsewhere.path(), &["webhook", "list", "--app", "copy", "-o", "json"]));
    assert_eq!(there, webhooks);
    let unwritable = super::run(elsewhere.path(), &["backup", "no/such/folder/file"]);
    assert!(err(&unwritable).contains("cannot be written"), "{}", err(&unwritable));
}

/// Creates webhooks `w0`, `w1`, … one after the other until it is told to stop; how many were answered, as it goes.
fn create_webhooks(folder: &Path, answered: &AtomicUsize, is_over: &AtomicBool) {
    let data = folder.join("tidegate-data");
    let read = |name: &str| std::fs::read_to_string(data.join(name)).expect("is there");
    let (token, addresses) = (read("access-token"), read("addresses.json"));
    let addresses: Value = serde_json::from_str(&addresses).expect("JSON");
    let application = json_of(&run(folder, &["app", "list", "-o", "json"]))[0]["id"].clone();
    let path = format!("/applications/{}/webhooks", application.as_str().expect("an id"));
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let body = json!({"name": format!("w{number}")}).to_string();
        let admin = addresses["admin"].as_str().expect("an address");
        let mut stream = TcpStream::connect(admin).expect("connects");
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            token.trim(),
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        answered.store(number + 1, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_the_model_as_it_was_at_one_moment() {
    const BACKUPS: usize = 3;
    let folder = folder();
    let _server = served(folder.path());
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut before = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| create_webhooks(folder.path(), &answered, &is_over));
        for backup in 0..BACKUPS {
            // It is in the midst of it.
            while answered.load(Ordering::Relaxed) < 10 * (backup + 1) {
                std::thread::sleep(Duration::from_millis(1));
            }
            before.push(answered.load(Ordering::Relaxed));
            let done = run(folder.path(), &["backup", &format!("{backup}.redb")]);
            assert!(done.status.success(), "{}", err(&done));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mode = std::fs::metadata(folder.path().join("0.redb")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (backup, before) in before.into_iter().enumerate() {
        let elsewhere = super::folder();
        let data = elsewhere.path().join("tidegate-data");
        std::fs::create_dir(&data).expect("made");
        std::fs::copy(folder.path().join(format!("{backup}.redb")), data.join("model.redb")).expect("copied");
        let restored = served(elsewhere.path());
        let listed = json_of(&run(elsewhere.path(), &["webhook", "list", "--filter", "w*", "-o", "json"]));
        let listed = listed.as_array().expect("a list");
        assert!(listed.len() >= before, "{} of {before}", listed.len());
        // They were made one after the other: none of them without those before it.
        let names: HashSet<&str> = listed.iter().filter_map(|webhook| webhook["name"].as_str()).collect();
        assert!((0..listed.len()).all(|number| names.contains(format!("w{number}").as_str())), "{names:?}");
        let url = out(&run(elsewhere.path(), &["webhook", "url", "w0"]));
        let (authority, path) =
            url.trim().strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
        assert_eq!(get(TcpStream::connect(authority).expect("connects"), &format!("/{path}")).0, 200);
        drop(restored);
    }
}

#[test]
fn shells_get_completions_and_man_gets_pages() {
    let folder = folder();
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    for (shell, part) in [
        ("bash", "complete -F _tidegate"),
        ("zsh", "#compdef tidegate"),
        ("fish", "complete -c tidegate"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = out(&run(&["completions", shell]));
        assert!(script.contains(part) && script.contains("deadletters"), "{shell}");
    }
    assert_eq!(run(&["completions", "csh"]).status.code(), Some(2));
    let page = out(&run(&["man"]));
    assert!(page.contains(".TH tidegate 1") && page.contains(r"tidegate\-webhook(1)"), "{page}");
    let page = out(&run(&["man", "webhook", "create"]));
    assert!(page.contains(r"tidegate\-webhook\-create") && page.contains("preset"), "{page}");
    assert_eq!(run(&["man", "nothing"]).status.code(), Some(2));
    assert!(run(&["man", "--folder", "pages"]).status.success());
    assert!(folder.path().join("pages/tidegate-webhook-create.1").exists());
    // Bash itself takes the script.
    let checked = Command::new("bash")
        .args(["-c", "source /dev/stdin && complete -p tidegate"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let script = run(&["completions", "bash"]).stdout;
            child.stdin.take().expect("piped").write_all(&script)?;
            child.wait_with_output()
        })
        .expect("bash is there");
    assert!(checked.status.success() && out(&checked).contains("_tidegate"), "{}", out(&checked));
}

/// Whether a request with a `Content-Length` is there to its end.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Waits until a flow has so many dead letters.
fn letters(folder: &Path, count: usize) -> Vec<Value> {
    for _ in 0..2_000 {
        let listed = json_of(&run(folder, &["deadletters", "list", "gone", "-o", "json"]));
        let items = listed["items"].as_array().expect("a list");
        if items.len() == count {
            return items.clone();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("there are not {count} dead letters");
}

#[test]
fn dead_letters_are_listed_replayed_and_dropped() {
    let folder = folder();
    let arguments = [&FREE_PORTS[..], &["--durability", "memory"]].concat();
    let _server = Server::start(folder.path(), &arguments, &[]);
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    // 410 is a dead letter at once.
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/in", target.local_addr().expect("an address"));
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in target.incoming() {
            let mut stream = stream.expect("a connection");
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let (mut bytes, mut request) = ([0; 65_536], Vec::new());
                while let Ok(length) = stream.read(&mut bytes)
                    && length > 0
                {
                    request.extend_from_slice(&bytes[..length]);
                    if !is_whole(&request) {
                        continue;
                    }
                    request.clear();
                    counted.fetch_add(1, Ordering::Relaxed);
                    if stream.write_all(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    json_of(&run(&["webhook", "create", "in"]));
    json_of(&run(&["flow", "create", "gone", "--webhook", "in", "--forward", &url]));
    for body in ["1", "2", "3"] {
        json_of(&run(&["webhook", "test", "in", "--body", body]));
    }
    let found = letters(folder.path(), 3);
    let table = out(&run(&["deadletters", "list", "gone", "--reason", "gone"]));
    assert!(table.lines().count() == 4 && table.contains("410"), "{table}");
    assert_eq!(out(&run(&["deadletters", "list", "gone", "--reason", "loop"])).lines().count(), 1);
    let id = found[0]["id"].as_str().expect("an id");
    let shown = json_of(&run(&["deadletters", "show", "gone", id]));
    assert_eq!(shown["id"], id);

    let replayed = run(&["deadletters", "replay", "gone", id]);
    assert!(replayed.status.success(), "{}", err(&replayed));
    let reach = |count: usize| {
        for _ in 0..2_000 {
            if requests.load(Ordering::Relaxed) >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the target did not get {count} requests");
    };
    reach(4);
    // It is given up again.
    letters(folder.path(), 3);
    let all = json_of(&run(&["deadletters", "replay", "gone", "--all"]));
    assert_eq!((&all["replayed"], &all["failed"], &all["isRunning"]), (&json!(3), &json!(0), &json!(false)));
    reach(7);
    let found = letters(folder.path(), 3);

    let id = found[1]["id"].as_str().expect("an id");
    let kept = on_a_terminal(folder.path(), &format!("deadletters drop gone {id}"), "n\n");
    assert_eq!(kept.status.code(), Some(1));
    assert!(run(&["deadletters", "drop", "gone", id]).status.success());
    letters(folder.path(), 2);
    assert_eq!(run(&["deadletters", "drop", "gone"]).status.code(), Some(2));
    let dropped = json_of(&run(&["deadletters", "drop", "gone", "--all", "--yes"]));
    assert_eq!(dropped["success"], json!(true), "{dropped}");
    letters(folder.path(), 0);
}

#[test]
fn ten_thousand_webhooks_go_out_and_in_and_change_nothing() {
    const WEBHOOKS: usize = 10_000;
    let folder = folder();
    let arguments = [&FREE_PORTS[..], &["--durability", "memory"]].concat();
    let _server = Server::start(folder.path(), &arguments, &[]);
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let webhooks: Vec<Value> = (0..WEBHOOKS).map(|number| json!({"name": format!("w{number}")})).collect();
    let flow = json!({"name": "f", "triggers": [{"type": "webhook", "key": "w9999"}]});
    let document = json!({"application": {"name": "large"}, "webhooks": webhooks, "flows": [flow]});
    std::fs::write(folder.path().join("large.json"), document.to_string()).expect("written");
    let made = run(&["import", "large.json", "-o", "json"]);
    assert_eq!(json_of(&made)["created"], json!(WEBHOOKS + 2));
    let unchanged = format!("0 created, 0 changed, 0 deleted, {} unchanged\n", WEBHOOKS + 2);
    let piped = tidegate(folder.path())
        .args(["export", "--app", "large"])
        .stdout(std::fs::File::create(folder.path().join("out.json")).expect("made"))
        .status()
        .expect("runs");
    assert!(piped.success());
    assert_eq!(err(&run(&["import", "out.json"])), unchanged);
    // The document that made them finds them by their names.
    assert_eq!(err(&run(&["import", "large.json"])), unchanged);
}
