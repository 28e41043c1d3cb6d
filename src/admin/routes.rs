//! The one table of what the admin listener serves. The [`router`](mod@super::router) is built from it.

use axum::Json;
use axum::response::IntoResponse;

use super::activity::{flow_errors, flow_stats};
use super::backup::backup;
use super::bundle::{download, export_application, import_application};
use super::call::{Call, Outcome};
use super::dead_letters::{drop_dead_letter, list_dead_letters, show_dead_letter};
use super::export::export;
use super::flows_import::import_flows;
use super::globals::{list_globals, patch_global, patch_globals, show_global};
use super::guide::{guide, guide_page};
use super::import::import;
use super::kinds::list_flows_by_version;
use super::presets::presets;
use super::preview::preview;
use super::query;
use super::record_replays::{replay_request, replay_requests};
use super::replays::replay_dead_letter;
use super::requests::{requests, show_request};
use super::resources::{create, delete, list, patch, show};
use super::route::{Access, QueryParameters, Route, Verb};
use super::shape::Shape;
use super::stats::{settings, stats, usage};
use super::system::{cluster, drain_node, healthz, metrics, readyz, reply, send_to_connection};
use super::testing::test;
use super::token::change_token;
use super::tokens::{create_token, delete_token, list_tokens};
use super::{console, openapi};
use crate::model::{Application, Flow, FlowVersion, Webhook};

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
            reads: QueryParameters::$reads$((&$kind))?,
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

/// The callers that a path admits, by its text.
pub(super) fn access_of(path: &str) -> Access {
    // Of the paths with parameters only the console's files, the guide's pages and exports, which nobody can guess, are open.
    if ["/console/", "/exports/", "/guide/"].iter().any(|open| path.starts_with(open)) {
        return Access::Open;
    }
    ROUTES.iter().find(|route| route.path == path).map_or(Access::Read, |route| route.access)
}

/// The document of this table.
async fn document(_call: Call) -> Outcome {
    Ok(Json(openapi::document(ROUTES)).into_response())
}
