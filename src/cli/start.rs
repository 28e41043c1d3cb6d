//! From the command line to a serving process: settings, logs, the limit of open files, and words for a start that
//! fails.

use anyhow::anyhow;
use clap::ArgMatches;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{CommandError, given, logs, serve};
use crate::engine::StartError;
use crate::settings::ENTRIES;
use crate::store::StoreError;

/// `tidegate serve`.
pub(super) fn serve(matches: &ArgMatches) -> Result<(), CommandError> {
    let (settings, _) = given::settings(matches)?;
    logs::start(&settings)?;
    raise_open_files();
    serve::run(&settings).map_err(|error| CommandError::Failed(explained(error)))
}

/// Lets the process open as many files as the system allows it: every connection is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => {
            tracing::debug!(from = ?limit.current, to = ?limit.maximum, "the limit of open files is raised")
        }
        Err(error) => {
            tracing::warn!(%error, limit = ?limit.current, "the limit of open files stays: more connections are refused");
        }
    }
}

/// Adds which setting to turn, where one would help.
fn explained(error: anyhow::Error) -> anyhow::Error {
    if is_out_of_files(&error) {
        return error.context("raise the limit of open files (ulimit -n, LimitNOFILE)");
    }
    let key = match (error.downcast_ref::<StartError>(), error.downcast_ref::<StoreError>()) {
        (Some(StartError::Listen { listener, .. }), _) => format!("{listener}.listen"),
        (Some(StartError::Driver(_)), _) => "driver".to_owned(),
        (Some(StartError::Tls(error)), _) => format!("{}.tls.certificate", error.listener),
        (_, Some(StoreError::NotAllowed { .. } | StoreError::Locked { .. } | StoreError::Io { .. })) => {
            "data".to_owned()
        }
        _ => return error,
    };
    match ENTRIES.iter().find(|entry| entry.key == key) {
        Some(entry) => {
            let flag = entry.flag.map_or(String::new(), |flag| format!(", --{flag}"));
            anyhow!("{error:#} (set by {}, {}{flag})", entry.key, entry.variable)
        }
        None => error,
    }
}

/// Whether the process, or the system, has no descriptor left.
fn is_out_of_files(error: &anyhow::Error) -> bool {
    let system = match error.downcast_ref::<StartError>() {
        Some(
            StartError::Listen { error, .. } | StartError::Driver(error) | StartError::System { error, .. },
        ) => Some(error),
        _ => error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()),
    };
    let code = system.and_then(std::io::Error::raw_os_error);
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_cannot_be_opened_names_its_setting() {
        for (listener, expected) in [
            ("ingress", "(set by ingress.listen, TIDEGATE_INGRESS_LISTEN, --ingress)"),
            ("admin", "(set by admin.listen, TIDEGATE_ADMIN_LISTEN, --admin)"),
            ("workers", "(set by workers.listen, TIDEGATE_WORKERS_LISTEN, --workers)"),
        ] {
            let error = std::io::ErrorKind::AddrInUse.into();
            let error = StartError::Listen { listener, address: "127.0.0.1:80".to_owned(), error };
            let text = format!("{:#}", explained(error.into()));
            assert!(text.ends_with(expected) && text.contains("127.0.0.1:80"), "{text}");
        }
    }

    #[test]
    fn a_shortage_of_descriptors_is_not_blamed_on_the_address() {
        let error = std::io::Error::from(Errno::MFILE);
        let error = StartError::Listen { listener: "ingress", address: "127.0.0.1:80".to_owned(), error };
        let text = format!("{:#}", explained(error.into()));
        assert!(text.starts_with("raise the limit of open files") && !text.contains("--ingress"), "{text}");
    }

    #[test]
    fn an_error_of_another_kind_stays_as_it_is() {
        assert_eq!(format!("{:#}", explained(anyhow!("inner").context("outer"))), "outer: inner");
    }
}
