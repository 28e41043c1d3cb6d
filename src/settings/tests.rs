//! The values that the settings accept and refuse, and the words of each refusal.

use super::*;

/// Names and values.
type Pairs = &'static [(&'static str, &'static str)];

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
    Settings::resolve(2, Some(("t.toml", file)), &pairs(environment), &pairs(flags))
        .map_err(|error| error.to_string())
}

#[test]
fn the_table_has_each_name_once_and_its_defaults_are_those_of_the_settings() {
    for (index, entry) in ENTRIES.iter().enumerate() {
        for other in &ENTRIES[index + 1..] {
            assert!(entry.key != other.key && entry.variable != other.variable, "{}", entry.key);
            assert!(entry.flag.is_none() || entry.flag != other.flag, "{}", entry.key);
        }
        let variable = format!("TIDEGATE_{}", entry.key.replace('.', "_").to_uppercase());
        assert_eq!(entry.variable, variable);
        let of_nats = entry.key.strip_prefix("nats.").or_else(|| entry.key.strip_prefix("cluster."));
        // Files, and a name, that `none` and the default would name.
        const NAMES: [&str; 6] = ["credentials", "nkey", "tls.ca", "tls.certificate", "tls.key", "name"];
        if of_nats.is_some_and(|key| NAMES.contains(&key)) {
            continue;
        }
        let mut settings = Settings::defaults(2);
        if (entry.set)(&mut settings, entry.default).is_ok() {
            let mut expected = Settings::defaults(2);
            // These defaults are words for people that happen to be valid values too.
            if entry.key == "alexa.roots" {
                expected.alexa.roots = Some(entry.default.into());
            }
            if entry.key == "forward.roots" {
                expected.forward.roots = Some(entry.default.into());
            }
            if entry.key == "admin.hosts" {
                expected.admin.hosts = vec!["none".to_owned()];
            }
            let files = match entry.key.split('.').next() {
                Some("ingress") => &mut expected.ingress.tls,
                Some("admin") => &mut expected.admin.tls,
                _ => &mut expected.workers.tls,
            };
            if entry.key.ends_with(".tls.certificate") {
                files.certificates = vec!["none".into()];
            }
            if entry.key.ends_with(".tls.key") {
                files.keys = vec!["none".into()];
            }
            assert_eq!(settings, expected, "{}", entry.key);
        }
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "cores = 3\nlog = \"warn\"\n[limits]\nconcurrency = 7\n[ingress]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]";
    let settings = resolve(
        file,
        &[("TIDEGATE_CORES", "4"), ("TIDEGATE_LIMITS_CONCURRENCY", "8"), ("PATH", "/bin")],
        &[("concurrency", "9")],
    )
    .unwrap();
    assert_eq!((settings.cores, settings.limits.concurrency, settings.log.as_str()), (4, 9, "warn"));
    assert_eq!(settings.ingress.trusted_proxies.len(), 2);
}

#[test]
fn the_level_of_the_log_may_stand_in_its_table() {
    for file in ["log = \"warn\"", "[log]\nlevel = \"warn\"\nrequests = \"all\"", "log.level = \"warn\""] {
        assert_eq!(resolve(file, &[], &[]).unwrap().log, "warn", "{file}");
    }
    let settings = resolve("[log]\nrequests = \"refused\"\nformat = \"json\"", &[], &[]).unwrap();
    assert_eq!((settings.log_requests, settings.log_format), (LogRequests::Refused, LogFormat::Json));
    assert_eq!(
        resolve("[log]\nlevels = 1", &[], &[]).unwrap_err(),
        "t.toml:2: there is no setting log.levels"
    );
    assert!(
        resolve("[log]\nlevel = \"loud\"", &[], &[]).unwrap_err().starts_with("t.toml:2: log must be one of")
    );
}

#[test]
fn what_is_unknown_or_bad_is_named_with_its_place() {
    let cases: &[(&str, Pairs, Pairs, &str)] = &[
        ("\ncoers = 2", &[], &[], "t.toml:2: there is no setting coers"),
        ("a = 1\n[limits]\nconcurency = 2", &[], &[], "t.toml:1: there is no setting a"),
        ("[limits]\n\nconcurency = 2", &[], &[], "t.toml:3: there is no setting limits.concurency"),
        ("cores = 0", &[], &[], "t.toml:1: cores must be a whole number from 1 to 1024, not \"0\""),
        ("cores = 1.5", &[], &[], "t.toml:1: cores is of a type that no setting has"),
        (
            "",
            &[("TIDEGATE_COERS", "2")],
            &[],
            "TIDEGATE_COERS in the environment: there is no setting TIDEGATE_COERS",
        ),
        (
            "",
            &[("TIDEGATE_CORES", "+2")],
            &[],
            "TIDEGATE_CORES in the environment: cores must be a whole number",
        ),
        ("log = \"inof\"", &[], &[], "t.toml:1: log must be one of error, warn"),
        ("", &[("TIDEGATE_LOG", "")], &[], "TIDEGATE_LOG in the environment: log must be"),
        ("", &[], &[("log", "tidegate=loud")], "--log: log must be"),
        ("", &[], &[("driver", "kqueue")], "--driver: driver must be auto, io_uring or epoll"),
        ("", &[], &[("durability", "disk")], "--durability: journal.durability must be fsync, os or memory"),
        ("", &[], &[("nats", "nats://u:s3cret@x:0")], "--nats: cluster.nats must be URLs with a host"),
        (
            "cluster.monitor = \"8222\"",
            &[],
            &[],
            "t.toml:1: cluster.monitor must be URLs such as http://nats-1:8222",
        ),
        (
            "cluster.monitor = \"http://a:1\"",
            &[],
            &[],
            "t.toml:1: cluster.monitor is of a cluster: cluster.nats must be given too",
        ),
        ("", &[], &[("cluster", "A b")], "--cluster: cluster.name must be 1 to 64 of a-z"),
        ("", &[], &[("cluster", "a")], "--cluster: cluster.name needs cluster.nats or nats.url"),
        (
            "nats.tls.key = \"k\"",
            &[],
            &[],
            "t.toml:1: nats.tls.certificate and nats.tls.key must be given together",
        ),
        ("cluster.nkey = \"k\"", &[], &[], "t.toml:1: cluster.nats must be given too"),
        (
            "",
            &[("TIDEGATE_NATS_CREDENTIALS", "c"), ("TIDEGATE_NATS_NKEY", "k")],
            &[("nats-url", "nats://a")],
            "TIDEGATE_NATS_NKEY in the environment: nats.credentials and nats.nkey cannot both be given",
        ),
        (
            "[ingress.tls]\ncertificate = \"a.pem\"",
            &[],
            &[],
            "t.toml:2: ingress.tls.certificate and ingress.tls.key must name as many files, one key for each certificate: there are 1 and 0",
        ),
        (
            "[ingress.tls]\ncertificate = [\"a.pem\", \"b.pem\"]",
            &[("TIDEGATE_INGRESS_TLS_KEY", "a.key")],
            &[],
            "TIDEGATE_INGRESS_TLS_KEY in the environment: ingress.tls.certificate and ingress.tls.key must",
        ),
        ("", &[], &[("tls-key", "a.key")], "--tls-key: ingress.tls.certificate and ingress.tls.key must"),
        (
            "[admin.tls]\ncertificate = \"a.pem\"",
            &[],
            &[],
            "t.toml:2: admin.tls.certificate and admin.tls.key must name as many files",
        ),
        (
            "",
            &[("TIDEGATE_WORKERS_TLS_KEY", "a.key")],
            &[],
            "TIDEGATE_WORKERS_TLS_KEY in the environment: workers.tls.certificate and workers.tls.key must",
        ),
        (
            "ingress.proxy_protocol = true",
            &[],
            &[],
            "t.toml:1: ingress.proxy_protocol needs ingress.trusted_proxies",
        ),
        (
            "",
            &[],
            &[("proxy-protocol", "yes")],
            "--proxy-protocol: ingress.proxy_protocol must be true or false",
        ),
        ("cores = 1\n[limts]\n", &[], &[], "t.toml:2: there is no setting limts"),
        ("limts = {}", &[], &[], "t.toml:1: there is no setting limts"),
        ("[ingress.tsl]", &[], &[], "t.toml:1: there is no setting ingress.tsl"),
        ("[cores]", &[], &[], "t.toml:1: cores is of a type that no setting has"),
        ("[[limits]]\nconcurrency = 2", &[], &[], "t.toml:1: limits is of a type that no setting has"),
        (
            "[admin]\nhosts = [\"console.example.org\", \"https://console.example.org\"]",
            &[],
            &[],
            "t.toml:2: admin.hosts must hold names such as console.example.org, without a scheme: \"https://console",
        ),
        (
            "",
            &[("TIDEGATE_INGRESS_PUBLIC_URL", "https://")],
            &[],
            "TIDEGATE_INGRESS_PUBLIC_URL in the environment: ingress.public_url must be an http or https URL with a host",
        ),
        (
            "",
            &[],
            &[("ingress", "127.0.0.1:8081")],
            "--ingress: ingress.listen and admin.listen cannot both listen on 127.0.0.1:8081",
        ),
        (
            "workers.listen = \"0.0.0.0:8080\"",
            &[],
            &[],
            "t.toml:1: ingress.listen and workers.listen cannot both listen on 0.0.0.0:8080",
        ),
        ("x = ", &[], &[], "t.toml:1: "),
        ("concurrency = 3", &[], &[], "perhaps limits.concurrency"),
    ];
    for (file, environment, flags, expected) in cases {
        let error = resolve(file, environment, flags).unwrap_err();
        assert!(error.contains(expected), "{error:?} should hold {expected:?}");
    }
}

#[test]
fn an_empty_table_of_settings_says_nothing() {
    for file in ["[limits]", "limits = {}", "[ingress]\n[ingress.tls]\n[limits]\n"] {
        assert_eq!(resolve(file, &[], &[]), Ok(Settings::defaults(2)), "{file}");
    }
}

#[test]
fn listeners_may_all_have_ports_that_the_system_chooses() {
    let flags = [("ingress", "127.0.0.1:0"), ("admin", "127.0.0.1:0"), ("workers", "127.0.0.1:0")];
    assert!(resolve("", &[], &flags).is_ok());
}

#[test]
fn certificates_and_their_keys_are_paired_in_order() {
    let settings = resolve(
        "[ingress.tls]\ncertificate = [\"a.pem\", \"b.pem\"]",
        &[("TIDEGATE_INGRESS_TLS_KEY", "a.key, b.key")],
        &[],
    )
    .unwrap();
    let pairs: Vec<(String, String)> = settings
        .ingress
        .tls
        .pairs()
        .map(|(chain, key)| (chain.display().to_string(), key.display().to_string()))
        .collect();
    assert_eq!(pairs, [("a.pem", "a.key"), ("b.pem", "b.key")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(settings.ingress.scheme(), "https");
    assert_eq!(resolve("", &[], &[]).unwrap().ingress.scheme(), "http");
}

#[test]
fn a_unix_socket_needs_no_trusted_proxy() {
    let file = "ingress.listen = \"unix:/run/t.sock\"\ningress.proxy_protocol = true";
    assert!(resolve(file, &[], &[]).unwrap().ingress.proxy_protocol);
    let file = "ingress.trusted_proxies = [\"10.0.0.0/8\"]\ningress.proxy_protocol = true";
    assert!(resolve(file, &[], &[]).unwrap().ingress.proxy_protocol);
}

#[test]
fn a_secret_is_never_printed() {
    let settings = resolve("", &[("TIDEGATE_ACCESS_TOKEN", "planted-secret-0123")], &[]).unwrap();
    assert!(!format!("{settings:?}").contains("planted"));
    let error = resolve("", &[("TIDEGATE_ACCESS_TOKEN", "planted")], &[]).unwrap_err();
    assert!(!error.contains("planted"), "{error}");
}

#[test]
fn what_was_given_is_told_with_its_place_and_without_secrets() {
    let (settings, given) = Settings::resolve_given(
        2,
        Some(("t.toml", "\nlog = \"tidegate=debug,warn\"")),
        &pairs(&[
            ("TIDEGATE_ACCESS_TOKEN", "planted-secret-0123"),
            ("TIDEGATE_SERVER", "http://127.0.0.1:1"),
        ]),
        &pairs(&[("cores", " 3 "), ("public-url", "https://user:planted@hooks.example.org/x@y")]),
    )
    .unwrap();
    assert_eq!((settings.cores, settings.log.as_str()), (3, "tidegate=debug,warn"));
    let told: Vec<String> =
        given.iter().map(|given| format!("{} {} {}", given.entry.key, given.shown, given.place)).collect();
    assert_eq!(
        told,
        [
            "log tidegate=debug,warn t.toml:2",
            "access_token *** TIDEGATE_ACCESS_TOKEN in the environment",
            "cores 3 --cores",
            "ingress.public_url https://***@hooks.example.org/x@y --public-url",
        ]
    );
}
