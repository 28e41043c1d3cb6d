//! The one table of what the admin listener serves, and the router that is built from it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use serde_json::Value;

use super::activity::{flow_errors, flow_stats};
use super::backup::backup;
use super::bundle::{download, export_application, import_application};
use super::dead_letters::{drop_dead_letter, list_dead_letters, show_dead_letter};
use super::error::{ApiError, Kind};
use super::export::export;
use super::flows_import::import_flows;
use super::globals::{list_globals, patch_global, patch_globals, show_global};
use super::guide::{guide, guide_page};
use super::import::import;
use super::kinds::list_flows_by_version;
use super::presets::presets;
use super::preview::preview;
use super::query::{self, ListKind};
use super::record_replays::{replay_request, replay_requests};
use super::replays::replay_dead_letter;
use super::requests::{requests, show_request};
use super::resources::{create, delete, list, patch, show};
use super::schemas::Shape;
use super::stats::{settings, stats, usage};
use super::system::{cluster, document, drain_node, healthz, metrics, readyz, reply, send_to_connection};
use super::testing::test;
use super::token::change_token;
use super::tokens::{create_token, delete_token, list_tokens};
use super::{AdminState, BODY_BYTES_MAX, console, door};
use crate::base::id::Id;
use crate::base::json as strict;
use crate::base::visible::visible;
use crate::model::{Application, Flow, FlowVersion, Right, Webhook};
use crate::store::{ChangeError, Resource, Store, StoreError};
use crate::verify::access::Granted;

/// Deepest nesting of a body. The parser takes 127 levels, and what is kept of a body is read back from records and
/// lists, a few levels further in.
pub(super) const BODY_DEPTH_MAX: usize = 100;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
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
    pub reads: Reads,
    /// The body that it takes.
    pub takes: Option<Shape>,
    /// The status and the body of its success; no status where this version does not have it.
    pub gives: Option<(u16, Shape)>,
    handler: Handler,
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
    fn lacks(self, granted: Option<&Granted>) -> Option<Right> {
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
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
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
pub(super) enum Reads {
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

/// A request on its way to its handler.
pub(super) struct Call {
    pub state: Arc<AdminState>,
    pub uri: Uri,
    parameters: Vec<(String, String)>,
    pub headers: HeaderMap,
    body: Body,
}

pub(super) type Outcome = Result<Response, ApiError>;
type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Rows of [`ROUTES`]: method, path, access, name, reads, takes, gives, handler, summary.
macro_rules! routes {
    ($($method:ident $path:literal $access:ident $name:literal $reads:ident $(: $kind:path,)?
        $takes:expr => $gives:expr, $handler:expr, $summary:literal;)*) => {
        &[$(Route {
            method: Verb::$method,
            path: $path,
            access: Access::$access,
            name: $name,
            summary: $summary,
            reads: Reads::$reads$((&$kind))?,
            takes: $takes,
            gives: $gives,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// Everything that the admin listener serves.
#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = routes! {
    Get "/" Open "console" Nothing None => Some((200, Shape::Page)), console::page, "The console";
    Get "/console/{file}" Open "consoleFile" Nothing None => Some((200, Shape::Text)), console::file,
        "A file of the console";
    Get "/guide" Open "guide" Nothing None => Some((200, Shape::Page)), guide, "The guide: its pages";
    Get "/guide/{page}" Open "guidePage" Nothing None => Some((200, Shape::Page)), guide_page, "A page of the guide";
    Get "/healthz" Open "health" Nothing None => Some((200, Shape::Text)), healthz, "Whether the process lives";
    Get "/readyz" Open "readiness" Nothing None => Some((200, Shape::Text)), readyz,
        "Whether new requests are taken: 503 while it drains";
    Get "/metrics" OpenIfSet "metrics" Nothing None => Some((200, Shape::Text)), metrics, "Metrics for Prometheus";
    Get "/openapi.json" OpenIfSet "openapi" Nothing None => Some((200, Shape::Any)), document, "This document";
    Get "/stats" Read "stats" Seconds None => Some((200, Shape::Stats)), stats,
        "What happened lately: requests by status class, latency, connections, throttles, in all and for each core";
    Get "/cluster" Read "cluster" Nothing None => Some((200, Shape::Any)), cluster,
        "What this node of a cluster tells of itself and the others: 404 where it is none";
    Post "/cluster/drain" Write "drainNode" Nothing None => Some((200, Shape::Success)), drain_node,
        "Has /readyz of this node of a cluster say 503, so that balancers send calls elsewhere; it serves on";
    Get "/settings" Read "settings" Nothing None => Some((200, Shape::Settings)), settings,
        "What the console shows of the server's settings";

    Get "/applications" Read "listApplications" List: query::APPLICATIONS, None => Some((200, Shape::Applications)), list::<Application>,
        "The applications";
    Post "/applications" Write "createApplication" Nothing Some(Shape::ApplicationPost) => Some((201, Shape::Application)),
        create::<Application>, "Creates an application";
    Get "/applications/{applicationId}" Read "getApplication" Nothing None => Some((200, Shape::Application)),
        show::<Application>, "One application";
    Patch "/applications/{applicationId}" Write "patchApplication" Nothing Some(Shape::ApplicationPatch) => Some((200, Shape::Application)),
        patch::<Application>, "Replaces the fields that the body names";
    Delete "/applications/{applicationId}" Write "deleteApplication" Nothing None => Some((200, Shape::Success)),
        delete::<Application>, "Deletes an application with its webhooks and flows";

    Post "/applications/{applicationId}/export" Read "exportApplication" Nothing Some(Shape::ExportPost) => Some((200, Shape::Exported)),
        export_application, "Answers a URL from which the application, its webhooks, flows and versions are downloaded for ten minutes";
    Post "/applications/{applicationId}/import" Write "importApplication" Nothing Some(Shape::Form) => Some((200, Shape::Application)),
        import_application, "Adds what an export holds to an application: what is there by its id is changed, the rest is made";
    Get "/exports/{key}" Open "downloadExport" Nothing None => Some((200, Shape::Any)), download,
        "An export, for whoever has its URL";
    Get "/applications/{applicationId}/globals" Read "listGlobals" Keys None => Some((200, Shape::Globals)), list_globals,
        "The globals of an application: all, or those that `key` names";
    Patch "/applications/{applicationId}/globals" Write "patchGlobals" Nothing Some(Shape::GlobalsPatch) => Some((200, Shape::Application)),
        patch_globals, "Sets the globals that a list names, and removes those whose json is null; the others stay";
    Get "/applications/{applicationId}/globals/{key}" Read "getGlobal" Nothing None => Some((200, Shape::Global)),
        show_global, "One global";
    Patch "/applications/{applicationId}/globals/{key}" Write "patchGlobal" Nothing Some(Shape::GlobalPatch) => Some((200, Shape::Application)),
        patch_global, "Sets one global, or removes it where json is null";

    Get "/applications/{applicationId}/webhooks" Read "listWebhooks" List: query::WEBHOOKS, None => Some((200, Shape::Webhooks)),
        list::<Webhook>, "The webhooks of an application";
    Post "/applications/{applicationId}/webhooks" Write "createWebhook" Nothing Some(Shape::WebhookPost) => Some((201, Shape::Webhook)),
        create::<Webhook>, "Creates a webhook";
    Get "/applications/{applicationId}/webhooks/{webhookId}" Read "getWebhook" Nothing None => Some((200, Shape::Webhook)),
        show::<Webhook>, "One webhook";
    Patch "/applications/{applicationId}/webhooks/{webhookId}" Write "patchWebhook" Nothing Some(Shape::WebhookPatch) => Some((200, Shape::Webhook)),
        patch::<Webhook>, "Replaces the fields that the body names";
    Delete "/applications/{applicationId}/webhooks/{webhookId}" Write "deleteWebhook" IncludeWorkflows None => Some((200, Shape::Success)),
        delete::<Webhook>, "Deletes a webhook, and with includeWorkflows every flow that has a trigger on it";
    Post "/applications/{applicationId}/webhooks/{webhookId}/token" Write "changeWebhookToken" Nothing Some(Shape::TokenPost) => Some((200, Shape::Webhook)),
        change_token, "Gives a webhook another token, made or given; the old one goes on for the grace";
    Post "/applications/{applicationId}/webhooks/{webhookId}/test" Write "testWebhook" Nothing Some(Shape::TestRequest) => Some((200, Shape::TestResponse)),
        test, "Sends a request through the ingress and shows what came of it";
    Get "/applications/{applicationId}/webhooks/{webhookId}/requests" Read "listRequests" Stream None => Some((200, Shape::Requests)),
        requests, "What was recorded of a webhook's calls; with `Accept: text/event-stream` each further record as it comes";
    Get "/applications/{applicationId}/webhooks/{webhookId}/requests/{requestId}" Read "getRequest" Nothing None => Some((200, Shape::Request)),
        show_request, "One record with all that is kept of it";
    Post "/applications/{applicationId}/webhooks/{webhookId}/requests/{requestId}/replay" Write "replayRequest" Nothing None => Some((200, Shape::RequestReplayed)),
        replay_request, "Sends the request again through the ingress";
    Post "/applications/{applicationId}/webhooks/{webhookId}/requests/replay" Write "replayRequests" RecordFilters Some(Shape::RequestsReplay) => Some((200, Shape::DeadLetterReplay)),
        replay_requests, "Sends those again that the parameters or the body name, a hundred a second. No record has this id: ids are 24 hex digits";
    Post "/applications/{applicationId}/webhooks/{webhookId}/connections/{connectionId}" Reply "sendToConnection" Nothing Some(Shape::Reply) => Some((200, Shape::Accepted)),
        send_to_connection, "Sends a message to an open WebSocket, closes it, or both; its connectionId is in its records";
    Get "/applications/{applicationId}/webhooks/usage" Read "listUsage" Ids None => Some((200, Shape::Usages)),
        usage, "What webhooks have used of their limits. No webhook has this id: ids are 24 hex digits";

    Get "/applications/{applicationId}/flows" Read "listFlows" List: query::FLOWS, None => Some((200, Shape::Flows)),
        list::<Flow>, "The flows of an application";
    Post "/applications/{applicationId}/flows" Write "createFlow" Nothing Some(Shape::FlowPost) => Some((201, Shape::Flow)),
        create::<Flow>, "Creates a flow";
    Post "/applications/{applicationId}/flows/import" Write "importFlows" Nothing Some(Shape::FlowsImport) => Some((201, Shape::FlowsImported)),
        import_flows, "Creates flows and versions of flows, all or none. No flow has this id: ids are 24 hex digits";
    Get "/applications/{applicationId}/flows/version" Read "listFlowsByVersion" List: query::FLOWS_BY_VERSION, None => Some((200, Shape::FlowVersions)),
        list_flows_by_version, "The versions of an application's flows that have one name";
    Get "/applications/{applicationId}/flows/{flowId}" Read "getFlow" Nothing None => Some((200, Shape::Flow)),
        show::<Flow>, "One flow";
    Patch "/applications/{applicationId}/flows/{flowId}" Write "patchFlow" Nothing Some(Shape::FlowPatch) => Some((200, Shape::Flow)),
        patch::<Flow>, "Replaces the fields that the body names";
    Delete "/applications/{applicationId}/flows/{flowId}" Write "deleteFlow" Nothing None => Some((200, Shape::Success)),
        delete::<Flow>, "Deletes a flow";
    Get "/applications/{applicationId}/flows/{flowId}/stats" Read "flowStats" FlowStats None => Some((200, Shape::FlowStats)),
        flow_stats, "How often a flow ran in each hour of the past day, and how many of its nodes failed, since the start";
    Get "/applications/{applicationId}/flows/{flowId}/errors" Read "flowErrors" FlowErrors None => Some((200, Shape::FlowErrors)),
        flow_errors, "The last errors of a flow's nodes, since the start";
    Get "/applications/{applicationId}/flows/{flowId}/versions" Read "listFlowVersions" List: query::FLOW_VERSIONS, None => Some((200, Shape::FlowVersions)),
        list::<FlowVersion>, "The versions of a flow";
    Post "/applications/{applicationId}/flows/{flowId}/versions" Write "createFlowVersion" AllowReplacement Some(Shape::FlowVersionPost) => Some((201, Shape::FlowVersion)),
        create::<FlowVersion>, "Makes a version of a flow: of what the flow is, but for the fields that the body names";
    Get "/applications/{applicationId}/flows/{flowId}/versions/{flowVersionId}" Read "getFlowVersion" Nothing None => Some((200, Shape::FlowVersion)),
        show::<FlowVersion>, "One version, by its id or its name";
    Patch "/applications/{applicationId}/flows/{flowId}/versions/{flowVersionId}" Write "patchFlowVersion" Nothing Some(Shape::FlowVersionPatch) => Some((200, Shape::FlowVersion)),
        patch::<FlowVersion>, "Replaces notes and enabled";
    Delete "/applications/{applicationId}/flows/{flowId}/versions/{flowVersionId}" Write "deleteFlowVersion" Nothing None => Some((200, Shape::Success)),
        delete::<FlowVersion>, "Deletes a version that is not the one that runs";
    Get "/applications/{applicationId}/flows/{flowId}/deadLetters" Read "listDeadLetters" DeadLetters None => Some((200, Shape::DeadLetters)),
        list_dead_letters, "The deliveries that a flow's nodes gave up, the newest first, without their payloads";
    Get "/applications/{applicationId}/flows/{flowId}/deadLetters/{id}" Read "getDeadLetter" Nothing None => Some((200, Shape::DeadLetter)),
        show_dead_letter, "One of them, with its payload";
    Delete "/applications/{applicationId}/flows/{flowId}/deadLetters/{id}" Write "dropDeadLetter" Nothing None => Some((200, Shape::DeadLettersDropped)),
        drop_dead_letter, "Drops one of them, or all with the id `all`";
    Post "/applications/{applicationId}/flows/{flowId}/deadLetters/{id}/replay" Write "replayDeadLetter" DeadLetterFilters None => Some((200, Shape::DeadLetterReplay)),
        replay_dead_letter, "Delivers one of them again; with the id `all` those that the parameters narrow, a hundred a second";

    Get "/tokens" Read "listTokens" Nothing None => Some((200, Shape::AccessTokens)), list_tokens,
        "The access tokens beside the first one; their secrets are not kept";
    Post "/tokens" All "createToken" Nothing Some(Shape::AccessTokenPost) => Some((201, Shape::AccessTokenMade)), create_token,
        "Makes an access token; its secret is in this answer alone";
    Delete "/tokens/{tokenId}" All "deleteToken" Nothing None => Some((200, Shape::Success)), delete_token,
        "Revokes an access token";

    Get "/export" Read "export" Export None => Some((200, Shape::Document)), export,
        "An application with its webhooks, flows, versions and globals as one document of JSON or YAML, without secrets";
    Post "/import" Write "import" Import Some(Shape::Document) => Some((200, Shape::ImportReport)), import,
        "Makes an application be what a document says, in one transaction: what is there by id, or by name, is changed, the rest is made";
    Get "/backup" All "backup" Nothing None => Some((200, Shape::File)), backup,
        "The model as one file, from which `tidegate serve` starts: secrets are in it";
    Get "/presets" Read "listPresets" Nothing None => Some((200, Shape::Presets)), presets,
        "Known senders: how their webhooks are set up, what to paste where at the sender, and a sample of what they send";
    Post "/preview" Read "preview" Nothing Some(Shape::PreviewRequest) => Some((200, Shape::Preview)), preview,
        "Renders templates over a payload; nothing is sent or kept";
    Post "/replies/{replyId}" Reply "reply" Nothing Some(Shape::Reply) => Some((200, Shape::Accepted)), reply,
        "Replies to a trigger";
};

/// The router of the admin listener.
pub fn router(state: Arc<AdminState>) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&'static str> = Vec::new();
    for route in ROUTES {
        if !paths.contains(&route.path) {
            paths.push(route.path);
        }
    }
    for path in paths {
        let mut methods = MethodRouter::new();
        let mut names = vec!["OPTIONS"];
        for route in ROUTES.iter().filter(|route| route.path == path) {
            let handler = Guarded { route };
            names.push(route.method.as_str());
            if route.method == Verb::Get {
                names.push("HEAD");
            }
            methods = methods.on(
                route.method.filter(),
                move |State(state): State<Arc<AdminState>>,
                      parameters: Result<RawPathParams, RawPathParamsRejection>,
                      request: Request| async move {
                    // What is no UTF-8 names nothing.
                    let Ok(parameters) = parameters else { return no_such_path().await.into_response() };
                    handler.answer(state, &parameters, request).await
                },
            );
        }
        let allow = names.join(", ");
        router = router.route(path, methods.fallback(move |request: Request| no_such_method(request, allow)));
    }
    let entered = axum::middleware::from_fn_with_state(Arc::clone(&state), door::enter);
    router.fallback(no_such_path).layer(entered).with_state(state)
}

/// A route whose callers need a right.
#[derive(Clone, Copy)]
struct Guarded {
    route: &'static Route,
}

impl Guarded {
    async fn answer(self, state: Arc<AdminState>, parameters: &RawPathParams, request: Request) -> Response {
        let route = self.route;
        let granted: Option<Granted> = request.extensions().get().cloned();
        if let Some(right) = route.access.lacks(granted.as_ref()) {
            let message = format!("the access token has no right to {}", right.as_str());
            return ApiError::new(Kind::Forbidden, message).into_response();
        }
        let path = request.uri().path().to_owned();
        let answer = (route.handler)(Call::new(state, parameters, request)).await;
        let response = answer.unwrap_or_else(IntoResponse::into_response);
        if let Some(granted) = granted.filter(|_| route.is_change() && response.status().is_success()) {
            let made = response.extensions().get().map(|MadeId(id)| tracing::field::display(id));
            tracing::info!(token = %visible(&granted.name), change = route.name, path, made, "changed over the API");
        }
        response
    }
}

/// The id of what a request made, among the extensions of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeId(pub Id);

impl Route {
    /// Whether the model is another one after it.
    fn is_change(&self) -> bool {
        matches!(self.access, Access::Write | Access::All)
            && !["testWebhook", "backup", "replayRequest", "replayRequests"].contains(&self.name)
    }
}

/// The callers that a path admits, by its text.
pub(super) fn access_of(path: &str) -> Access {
    // Of the paths with parameters only the console's files, the guide's pages and exports, which nobody can guess, are open.
    if ["/console/", "/exports/", "/guide/"].iter().any(|open| path.starts_with(open)) {
        return Access::Open;
    }
    ROUTES.iter().find(|route| route.path == path).map_or(Access::Read, |route| route.access)
}

async fn no_such_path() -> ApiError {
    ApiError::new(Kind::NotFound, "there is nothing at this path; /openapi.json lists what there is")
}

async fn no_such_method(request: Request, allow: String) -> Response {
    if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if let Ok(allow) = HeaderValue::try_from(allow) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        return response;
    }
    let mut error = ApiError::validation(format!("the method must be one of {allow}"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED);
    error.allow = Some(allow);
    error.into_response()
}

impl Call {
    fn new(state: Arc<AdminState>, parameters: &RawPathParams, request: Request) -> Call {
        let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (parts, body) = request.into_parts();
        Call { state, uri: parts.uri, parameters, headers: parts.headers, body }
    }

    /// A parameter of the path, decoded.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A parameter that names a resource. What is no id names none.
    pub fn id(&self, resource: Resource) -> Result<Id, ApiError> {
        let name = match resource {
            Resource::Application => "applicationId",
            Resource::Webhook => "webhookId",
            Resource::Flow => "flowId",
            Resource::FlowVersion => "flowVersionId",
        };
        self.parameter(name).parse().map_err(|_| ApiError::missing(resource))
    }

    /// The body's bytes, up to [`BODY_BYTES_MAX`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>, ApiError> {
        self.bytes_up_to(BODY_BYTES_MAX).await
    }

    /// The body's bytes, up to so many.
    pub async fn bytes_up_to(&mut self, most: usize) -> Result<Vec<u8>, ApiError> {
        let too_large =
            || ApiError::new(Kind::PayloadTooLarge, format!("the body must be at most {most} bytes"));
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.and_then(|value| value.parse().ok()).is_some_and(|length: u64| length > most as u64) {
            return Err(too_large());
        }
        let body = http_body_util::Limited::new(&mut self.body, most);
        let collected = tokio::time::timeout(BODY_TIMEOUT, http_body_util::BodyExt::collect(body)).await;
        let late = || ApiError::validation("the body took too long").with_status(StatusCode::REQUEST_TIMEOUT);
        match collected.map_err(|_| late())? {
            Ok(collected) => Ok(collected.to_bytes().into()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Err(error) => Err(ApiError::validation(format!("the body could not be read: {error}"))),
        }
    }

    /// As [`Call::json`]; no body at all is an empty object.
    pub async fn json_or_nothing(&mut self) -> Result<Value, ApiError> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() { Ok(Value::Object(serde_json::Map::new())) } else { json_of(&bytes) }
    }

    /// The body as JSON, whatever its `Content-Type` says.
    pub async fn json(&mut self) -> Result<Value, ApiError> {
        json_of(&self.bytes().await?)
    }
}

fn json_of(bytes: &[u8]) -> Result<Value, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::validation(format!("the body must be JSON: {error}")))?;
    if strict::validate(bytes, BODY_DEPTH_MAX) {
        Ok(value)
    } else {
        Err(ApiError::validation(format!("the body must be nested at most {BODY_DEPTH_MAX} levels deep")))
    }
}

impl AdminState {
    /// Looks into the store on a thread that may wait for the disk.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = Arc::clone(&self.store);
        let looked = tokio::task::spawn_blocking(move || look(&store)).await;
        looked
            .map_err(|_| ApiError::new(Kind::Internal, "the request could not be worked on"))?
            .map_err(Into::into)
    }

    /// Changes the store on a thread that may wait for the disk; returns when the change is kept and served.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Store) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = Arc::clone(&self.store);
        let changed = tokio::task::spawn_blocking(move || change(&store)).await;
        changed
            .map_err(|_| ApiError::new(Kind::Internal, "the request could not be worked on"))?
            .map_err(Into::into)
    }
}
