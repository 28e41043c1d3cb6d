//! `/openapi.json` against the readers of others: redocly's linter and swagger-parser, both from npm, take it without an
//! error or a warning. They are installed into the folder that `TIDEGATE_TEST_TOOLS` names, so this runs only where that
//! is set.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::Server;

/// Where the packages are.
fn packages() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "TIDEGATE_TEST_TOOLS must name a folder for packages");
        eprintln!("SKIPPED: TIDEGATE_TEST_TOOLS names no folder for packages");
        return None;
    };
    let folder = tools.join("openapi");
    std::fs::create_dir_all(&folder).expect("a folder");
    // Two processes that install at once would meet in one folder.
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    if !folder.join("node_modules/@apidevtools/swagger-parser").exists() {
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", "--prefix"])
            .arg(&folder)
            .args(["@redocly/cli@2.77.0", "@apidevtools/swagger-parser@~13.1"])
            .output()
            .expect("npm");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    Some(folder)
}

#[test]
fn others_take_the_document_without_a_warning() {
    let Some(packages) = packages() else { return };
    let server = Server::start(|_| {});
    let document = server.call_raw("GET", "/openapi.json", "");
    assert_eq!(document.status, 200);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("openapi.json");
    std::fs::write(&path, &document.body).expect("written");

    let linted = Command::new("node")
        .arg(packages.join("node_modules/@redocly/cli/bin/cli.js"))
        .args(["lint", "--format=stylish", "--extends=recommended"])
        .arg(&path)
        .current_dir(folder.path())
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .output()
        .expect("node");
    let said = [linted.stdout, linted.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // A row of its table; it also warns of Node.js' own age.
    assert!(linted.status.success() && !said.contains("  warning  "), "{said}");

    let script = "const { default: Parser } = await import(process.argv[1]); \
        const read = await Parser.validate(process.argv[2]); console.log(Object.keys(read.paths).length);";
    let parser = packages.join("node_modules/@apidevtools/swagger-parser/lib/index.js");
    let parsed = Command::new("node")
        .args(["--input-type=module", "-e", script])
        .arg(parser)
        .arg(&path)
        .output()
        .expect("node");
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    let paths: usize = String::from_utf8_lossy(&parsed.stdout).trim().parse().expect("a count");
    assert!(paths > 20, "{paths}");
}

/// Runs a program that has to succeed.
#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn clients_that_others_make_of_the_document_drive_the_server() {
    let Some(tools) = std::env::var_os("TIDEGATE_TEST_TOOLS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "TIDEGATE_TEST_TOOLS must name a folder for packages");
        eprintln!("SKIPPED: TIDEGATE_TEST_TOOLS names no folder for packages");
        return;
    };
    let tools = tools.join("openapi-clients");
    std::fs::create_dir_all(&tools).expect("a folder");
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/clients");
    // Two processes that install at once would meet in one folder.
    let lock = std::fs::File::create(tools.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    run(Command::new(scripts.join("openapi-install")).arg(&tools));
    drop(lock);
    let server = Server::start(|_| {});
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("openapi.json");
    std::fs::write(&document, &server.call_raw("GET", "/openapi.json", "").body).expect("written");
    let arguments = [
        format!("http://{}", server.admin),
        common::ACCESS_TOKEN.to_owned(),
        format!("http://{}", server.ingress),
    ];

    // It knows no YAML; JSON does as well.
    let config = "post_hooks: []\ncontent_type_overrides:\n  application/yaml: application/json\n";
    std::fs::write(folder.path().join("config.yml"), config).expect("written");
    run(Command::new(tools.join("python/bin/openapi-python-client"))
        .args(["generate", "--meta", "none", "--fail-on-warning", "--config", "config.yml", "--path"])
        .arg(&document)
        .args(["--output-path", "generated"])
        .current_dir(folder.path()));
    run(Command::new(tools.join("python/bin/python"))
        .arg(scripts.join("openapi_client.py"))
        .args(&arguments)
        .env("PYTHONPATH", folder.path()));

    std::os::unix::fs::symlink(tools.join("node/node_modules"), folder.path().join("node_modules"))
        .expect("a link");
    std::fs::copy(scripts.join("openapi_client.ts"), folder.path().join("openapi_client.ts"))
        .expect("copied");
    std::fs::write(folder.path().join("package.json"), "{\"type\":\"module\"}").expect("written");
    let packages = folder.path().join("node_modules");
    run(Command::new("node")
        .arg(packages.join("openapi-typescript/bin/cli.js"))
        .arg(&document)
        .args(["--default-non-nullable=false", "-o", "schema.d.ts"])
        .current_dir(folder.path()));
    run(Command::new("node")
        .arg(packages.join("typescript/bin/tsc"))
        .args(["--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext", "--strict"])
        .args(["--skipLibCheck", "openapi_client.ts"])
        .current_dir(folder.path()));
    run(Command::new("node").arg("openapi_client.js").args(&arguments).current_dir(folder.path()));
}
