//! The paths that the platform's clients know and that are not offered here: each is told apart from an id that names
//! nothing.

/// Paths of the platform's API, each with everything below it; `*` stands for one part. From the clients' own list
/// (`losant-rest` 4.2, API 1.30).
const NOT_OFFERED: &[&str] = &[
    "applicationTemplates",
    "applications/import",
    "applications/periodSummaries",
    "applications/*/tokens",
    "applications/*/applyTemplate",
    "applications/*/archiveData",
    "applications/*/backfillArchiveData",
    "applications/*/certificate-authorities",
    "applications/*/certificates",
    "applications/*/clone",
    "applications/*/credentials",
    "applications/*/dashboards",
    "applications/*/data",
    "applications/*/data-tables",
    "applications/*/deviceCounts",
    "applications/*/device-recipes",
    "applications/*/devices",
    "applications/*/edge",
    "applications/*/embedded",
    "applications/*/events",
    "applications/*/experience",
    "applications/*/file",
    "applications/*/files",
    "applications/*/flows/palette",
    "applications/*/flows/*/logs",
    "applications/*/flows/*/storage",
    "applications/*/flows/*/storage-metadata",
    "applications/*/flows/*/versions/delete",
    "applications/*/flows/*/versions/*/errors",
    "applications/*/flows/*/versions/*/logs",
    "applications/*/flows/*/versions/*/stats",
    "applications/*/flows/*/virtualButton",
    "applications/*/fullDataTablesArchive",
    "applications/*/fullEventsArchive",
    "applications/*/importLogs",
    "applications/*/integrations",
    "applications/*/jobLogs",
    "applications/*/keys",
    "applications/*/mqttPublishMessage",
    "applications/*/mqttSubscriptionStream",
    "applications/*/notebookMinuteCounts",
    "applications/*/notebooks",
    "applications/*/payloadCounts",
    "applications/*/payloadCountsBreakdown",
    "applications/*/privateFiles",
    "applications/*/readme",
    "applications/*/resource-jobs",
    "applications/*/search",
    "auth",
    "dashboards",
    "instance",
    "instances",
    "invites",
    "me",
    "orgs",
];

/// Whether a path is the platform's and not offered here.
pub(super) fn is_not_offered(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    NOT_OFFERED.iter().any(|pattern| {
        let mut parts = path.split('/');
        pattern.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_platform_is_told_apart_with_all_that_is_below_it() {
        for (path, is_the_platforms) in [
            ("/applications/import", true),
            ("/applications/0123456789abcdef01234567/devices/1/state", true),
            ("/applications/x/flows/palette", true),
            ("/applications/x/flows/y/storage", true),
            ("/orgs/1/members", true),
            ("/applications", false),
            ("/applications/x", false),
            ("/applications/x/flows/version", false),
            ("/applications/x/flows/y", false),
            ("/applications/x/flows/y/versions/z", false),
            ("/elsewhere", false),
            ("/", false),
        ] {
            assert_eq!(is_not_offered(path), is_the_platforms, "{path}");
        }
    }
}
