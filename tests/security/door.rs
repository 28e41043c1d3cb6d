//! Section 3: the admin listener answers for its own names and its own pages alone, and makes guessing slow.

use crate::common::{ACCESS_TOKEN, Response, Server, Wire, request};

/// A GET of the admin listener with these lines for a head, besides the access token.
fn with_lines(server: &Server, target: &str, lines: &str) -> Response {
    let head = format!(
        "GET {target} HTTP/1.1\r\n{lines}Authorization: Bearer {ACCESS_TOKEN}\r\nConnection: close\r\n\r\n"
    );
    Wire::connect(server.admin).ask(head)
}

/// Guessing is told to the operator, and is no way to fill the log.
#[test]
fn refused_access_tokens_are_a_line_a_minute_of_the_log() {
    const GUESSES: usize = 12;
    let server = Server::start(|_| {});
    let wrong = [("Authorization", "Bearer planted-wrong-token-0123")];
    for (listener, address) in [("admin", server.admin), ("workers", server.workers)] {
        let target =
            if listener == "admin" { "/applications" } else { "/flows/0123456789abcdef01234567/worker" };
        std::thread::scope(|scope| {
            let guess =
                || assert_eq!(Wire::connect(address).ask(request("GET", target, &wrong, b"")).status, 401);
            for _ in 0..GUESSES {
                scope.spawn(guess);
            }
        });
        // A request without any token is no guess.
        assert_eq!(Wire::connect(address).ask(request("GET", target, &[], b"")).status, 401);
        let log = server.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("an access token was refused")).collect();
        let own: Vec<&&str> = lines.iter().filter(|line| line.contains(&format!("\"{listener}\""))).collect();
        assert_eq!(own.len(), 1, "{log}");
        assert!(own[0].contains("\"WARN\"") && own[0].contains("127.0.0.1"), "{log}");
        assert!(!log.contains("planted"), "{log}");
    }
}

/// Paths of each kind: open, with the token, the console, none at all.
const PATHS: [&str; 6] = ["/", "/healthz", "/metrics", "/applications", "/console/app.js", "/nothing"];

#[test]
fn the_admin_listener_answers_for_its_own_names_alone() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_ADMIN_HOSTS", "console.example.org, other.example.org:8443");
    });
    let port = server.admin.port();
    let own = [
        "localhost".to_owned(),
        "LocalHost".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "127.0.0.1".to_owned(),
        format!("[::1]:{port}"),
        "203.0.113.9".to_owned(),
        "console.example.org".to_owned(),
        "CONSOLE.example.org:9999".to_owned(),
        "other.example.org:8443".to_owned(),
    ];
    for host in own {
        assert_eq!(with_lines(&server, "/applications", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    let foreign = [
        "evil.example",
        "evil.example:80",
        "localhost.",
        "localhost.evil.example",
        "evil-localhost",
        "local host",
        "localhost@evil.example",
        "evil.example@localhost",
        "127.0.0.1.",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.example:8081",
        "127-0-0-1.evil.example",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1].evil.example",
        "[::1",
        "[localhost]",
        "::ffff:127.0.0.1.evil.example",
        "console.example.org.",
        "console.example.org.evil.example",
        "xconsole.example.org",
        "console.example.orgx",
        "other.example.org",
        "other.example.org:8444",
        "console.example.org, localhost",
        "localhost, evil.example",
        "*",
        "",
    ];
    for host in foreign {
        for path in PATHS {
            let response = with_lines(&server, path, &format!("Host: {host}\r\n"));
            assert_eq!(response.status, 421, "{host:?} at {path}: {response:?}");
            assert!(!response.text().contains("evil"), "{host:?} is repeated: {response:?}");
        }
    }
    // No name, two names, and a target that names another than `Host`.
    for (target, lines) in [
        ("/applications", ""),
        ("/applications", "Host: localhost\r\nHost: localhost\r\n"),
        ("/applications", "Host: localhost\r\nHost: evil.example\r\n"),
        ("http://evil.example/applications", "Host: localhost\r\n"),
    ] {
        let response = with_lines(&server, target, lines);
        assert!([400, 421].contains(&response.status), "{target} {lines:?}: {response:?}");
    }
}

#[test]
fn the_admin_listener_refuses_pages_of_other_origins() {
    let server = Server::start(|_| {});
    let port = server.admin.port();
    let host = format!("Host: localhost:{port}\r\n");
    let with = |path: &str, lines: &str| with_lines(&server, path, &format!("{host}{lines}"));
    for origin in [
        format!("http://localhost:{port}"),
        format!("http://LOCALHOST:{port}"),
        format!("https://localhost:{port}"),
    ] {
        assert_eq!(with("/applications", &format!("Origin: {origin}\r\n")).status, 200, "{origin}");
    }
    let other_port = if port == 65_535 { 1 } else { port + 1 };
    let foreign = [
        "null".to_owned(),
        String::new(),
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        "http://localhost".to_owned(),
        format!("http://localhost:{other_port}"),
        format!("http://localhost.:{port}"),
        format!("http://localhost.evil.example:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://localhost:{port}.evil.example"),
        format!("http://localhost:{port}/"),
        format!("http://localhost:{port}@evil.example"),
        format!("http://evil.example@localhost:{port}"),
        format!("http://evil.example http://localhost:{port}"),
        format!("http://localhost:{port}, http://evil.example"),
        format!("ftp://localhost:{port}"),
        format!("file://localhost:{port}"),
        format!("localhost:{port}"),
        format!("//localhost:{port}"),
    ];
    for origin in &foreign {
        for path in PATHS {
            let response = with(path, &format!("Origin: {origin}\r\n"));
            assert_eq!(response.status, 403, "{origin:?} at {path}: {response:?}");
            let cors = response.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{origin:?} at {path}");
        }
    }
    // Two of them, in either order: which one counts would be a guess.
    for (first, second) in [("localhost", "evil.example"), ("evil.example", "localhost")] {
        let lines = format!("Origin: http://{first}:{port}\r\nOrigin: http://{second}:{port}\r\n");
        assert_eq!(with("/applications", &lines).status, 403, "{lines:?}");
    }
    // A preflight of a foreign page is refused as well, and nothing invites one.
    let preflight = format!(
        "OPTIONS /applications HTTP/1.1\r\n{host}Origin: http://evil.example\r\n\
         Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
    );
    let response = Wire::connect(server.admin).ask(preflight);
    assert_eq!(response.status, 403, "{response:?}");
}

#[test]
fn wrong_tokens_wait_and_keep_nobody_else_waiting() {
    let server = Server::start(|_| {});
    let ask =
        |token: &str| request("GET", "/applications", &[("Authorization", &format!("Bearer {token}"))], b"");
    let almost = format!("{}x", &ACCESS_TOKEN[..ACCESS_TOKEN.len() - 1]);
    let wrong = [
        "",
        "x",
        "wrong-wrong-wrong-wrong",
        &almost,
        &format!("{ACCESS_TOKEN}x"),
        &ACCESS_TOKEN.to_uppercase(),
    ];
    let mut guessers: Vec<Wire> = (0..200).map(|_| Wire::connect(server.admin)).collect();
    let mut right = Wire::connect(server.admin);
    assert_eq!(right.ask(ask(ACCESS_TOKEN)).status, 200);
    for (number, guesser) in guessers.iter_mut().enumerate() {
        guesser.send(ask(wrong[number % wrong.len()]));
    }
    // The last one has only just been asked; whoever has the token overtakes it.
    assert_eq!(right.ask(ask(ACCESS_TOKEN)).status, 200);
    let last = guessers.last_mut().expect("some");
    assert!(!last.is_readable(), "a wrong token is told so at once");
    for guesser in &mut guessers {
        assert_eq!(guesser.response().status, 401);
    }
    // Nor can it be tried out at the workers' door.
    let attach = |token: &str| {
        request("GET", "/flows/000000000000000000000000/worker", &[("Authorization", token)], b"")
    };
    let mut guesser = Wire::connect(server.workers);
    guesser.send(attach("Bearer wrong-wrong-wrong-wrong"));
    // Whoever has the token is told at once that there is no such flow.
    let right = Wire::connect(server.workers).ask(attach(&format!("Bearer {ACCESS_TOKEN}")));
    assert_eq!(right.status, 404);
    assert!(!guesser.is_readable(), "a wrong token is told so at once");
    assert_eq!(guesser.response().status, 401);
    // Several are no better than one.
    let twice = format!(
        "GET /applications HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ACCESS_TOKEN}\r\n\
         Authorization: Bearer {ACCESS_TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(Wire::connect(server.admin).ask(twice).status, 401);
}
