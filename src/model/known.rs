//! Fields that the platform's published clients know and Tidegate has no use for.
//!
//! From the schemas of `losant-rest`: `application`, `applicationPost`, `applicationPatch`, `flow`, `flowPost`,
//! `flowPatch` and their kin. Kept fields are stored and given back as they came; ignored ones are the server's own
//! (read-only on the platform too), passed over so that a resource that was read can be sent back.

/// Fields that the platform or Tidegate adds to any answer: ignored in the body of any resource.
pub(crate) const IGNORED_ANYWHERE: [&str; 10] = [
    "_type",
    "_etag",
    "_links",
    "_actions",
    "_embedded",
    "createdById",
    "createdByType",
    "lastUpdatedById",
    "lastUpdatedByType",
    "warnings",
];

/// Read-only fields of an application that are not shown here.
pub(crate) const APPLICATION_IGNORED: &[&str] =
    &["ownerId", "ownerType", "organizationName", "organizationIconColor", "summary"];

/// Kept fields of an application.
pub(crate) const APPLICATION_KEPT: &[&str] = &[
    "orgId",
    "applicationTemplateId",
    "appliedTemplateIds",
    "endpointSlug",
    "endpointDefaultCors",
    "expUserTokenCutoff",
    "blobUrlTTL",
    "ftueTracking",
    "archiveConfig",
    "iconData",
    "shortDescription",
    "docsUrl",
    "category",
];

/// Kept fields of a global.
pub(crate) const GLOBAL_KEPT: &[&str] = &["cloudOnly", "description"];

/// Read-only fields of a flow that are not shown here.
pub(crate) const FLOW_IGNORED: &[&str] = &["stats", "customNodeUseCount", "deletedInDevelop"];

/// Kept fields of a flow.
pub(crate) const FLOW_KEPT: &[&str] = &[
    "iconData",
    "minimumAgentVersion",
    "customNodeConfig",
    "customNodeSupports",
    "shortDescription",
    "docsUrl",
    "category",
    "version",
    "notes",
];

/// Read-only fields of a flow's version that are not shown here.
pub(crate) const FLOW_VERSION_IGNORED: &[&str] = &["stats", "name", "description", "versions"];

/// Kept fields of a flow's version.
pub(crate) const FLOW_VERSION_KEPT: &[&str] = &["minimumAgentVersion", "customNodeConfig"];
