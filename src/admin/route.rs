//! One row of the table of routes.

use std::future::Future;
use std::pin::Pin;

use axum::routing::MethodFilter;

use super::call::{Call, Outcome};
use super::query::ListKind;
use super::shape::Shape;
use crate::model::Right;
use crate::verify::access::Granted;

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One method of one path.
pub(super) struct Route {
    pub method: Verb,
    /// With parameters in braces, as the router and OpenAPI both write them.
    pub path: &'static str,
    pub access: Access,
    /// `operationId` in the document.
    pub name: &'static str,
    /// A summary of it, for the document.
    pub summary: &'static str,
    /// Which query parameters it reads.
    pub reads: QueryParameters,
    /// The body that it takes.
    pub takes: Option<Shape>,
    /// The status and the body of its success; no status where this version does not have it.
    pub gives: Option<(u16, Shape)>,
    pub handler: Handler,
}

/// The callers that a path admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// Anybody where `admin.open_metrics` is set.
    OpenIfSet,
    /// A token with the right to read.
    Read,
    /// A token with the right to write: what is done is logged.
    Write,
    /// A token with the right to reply.
    Reply,
    /// A token with every right: it makes others. What is done is logged.
    All,
}

impl Access {
    /// The right that a caller lacks.
    pub(super) fn lacks(self, granted: Option<&Granted>) -> Option<Right> {
        let needed: &[Right] = match (self, granted) {
            (Access::Open, _) | (Access::OpenIfSet, None) => &[],
            (Access::OpenIfSet | Access::Read, _) => &[Right::Read],
            (Access::Write, _) => &[Right::Write],
            (Access::Reply, _) => &[Right::Reply],
            (Access::All, _) => &[Right::Read, Right::Write, Right::Worker, Right::Reply],
        };
        needed.iter().copied().find(|right| !granted.is_some_and(|granted| granted.may(*right)))
    }
}

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }

    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Delete => MethodFilter::DELETE,
        }
    }
}

/// The query parameters of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryParameters {
    Nothing,
    /// Page, order and filter, and what else the list knows.
    List(&'static ListKind),
    /// `key`, any number of times.
    Keys,
    /// `includeWorkflows`.
    IncludeWorkflows,
    /// `allowReplacement`.
    AllowReplacement,
    /// `duration`, `end`, `resolution`.
    FlowStats,
    /// `duration`, `end`, `limit`, `sortDirection`.
    FlowErrors,
    /// `page`, `perPage`, and what narrows the list.
    DeadLetters,
    /// The filters of a list of dead letters.
    DeadLetterFilters,
    /// `seconds`.
    Seconds,
    /// `ids`.
    Ids,
    /// `applicationId`, `format`, `ids`.
    Export,
    /// `applicationId`, `dryRun`, `prune`.
    Import,
    /// Page and what narrows a list of records; the answer may be a stream.
    Stream,
    /// The filters of a list of records.
    RecordFilters,
}

impl Route {
    /// Whether the model is another one after it.
    pub(super) fn is_change(&self) -> bool {
        matches!(self.access, Access::Write | Access::All)
            && !["testWebhook", "backup", "replayRequest", "replayRequests"].contains(&self.name)
    }
}
