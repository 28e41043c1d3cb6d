//! `/openapi.json`: the route table and the shapes, written as OpenAPI 3.1.

use serde_json::{Map, Value, json};

use super::activity::{DURATION_MILLIS_MAX, HOUR_MILLIS};
use super::query::{ListKind, PER_PAGE_DEFAULT, PER_PAGE_MAX};
use super::route::{Access, QueryParameters, Route, Verb};
use super::schemas;
use super::shape::Shape;
use crate::metrics::SAMPLES_MAX;

/// Version of OpenAPI that the document is written in.
const OPENAPI_VERSION: &str = "3.1.0";

/// The licence, as SPDX writes it.
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// The document of a table of routes.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(verb(route.method).to_owned(), operation(route));
        }
    }
    json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Webhooks and the flows that they trigger. Every answer that is an error is \
                {type, message}. Lists count pages from 0. PATCH replaces the fields that it names, lists whole.",
            "license": {"name": LICENSE, "identifier": LICENSE},
        },
        "servers": [{"url": "/"}],
        "security": [{"accessToken": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas::all(),
            "responses": {"Error": {
                "description": "What was wrong; the message names the field and what it must be",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
        },
    })
}

fn verb(method: Verb) -> &'static str {
    match method {
        Verb::Get => "get",
        Verb::Post => "post",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
    }
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path);
    parameters.extend(query_parameters(route.reads));
    let mut responses = Map::new();
    match route.gives {
        Some((status, shape)) => {
            let content = content(shape);
            responses.insert(status.to_string(), json!({"description": "Done", "content": content}));
            if route.reads == QueryParameters::Stream
                && let Some(kinds) = responses[&status.to_string()]["content"].as_object_mut()
            {
                kinds.insert("text/event-stream".to_owned(), json!({"schema": {"type": "string",
                    "description": "Each record as `data: <a SeenRequest>`; `event: update` with one that has \
                        changed; `event: skipped` with the number of those that were left out; a comment after 15 s \
                        of silence"}}));
            }
        }
        None => {
            let description = "This version does not have this path";
            responses.insert("2XX".to_owned(), json!({"description": "In a version that has this path"}));
            responses.insert(
                "404".to_owned(),
                json!({"description": description, "content": content(Shape::Error)}),
            );
        }
    }
    // On any path: a `Host` that is not served, an `Origin` that is not the listener's own.
    for status in ["4XX", "5XX"] {
        responses.insert(status.to_owned(), json!({"$ref": "#/components/responses/Error"}));
    }
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    let Some(object) = operation.as_object_mut() else { return operation };
    if let Some(shape) = route.takes {
        let is_required = ![Shape::ExportPost, Shape::RequestsReplay].contains(&shape);
        object.insert("requestBody".to_owned(), json!({"required": is_required, "content": content(shape)}));
    }
    if route.access == Access::Open {
        object.insert("security".to_owned(), json!([]));
    }
    operation
}

fn content(shape: Shape) -> Value {
    match shape.name() {
        Some(name) if shape == Shape::Form => {
            json!({"multipart/form-data": {"schema": {"$ref": format!("#/components/schemas/{name}")}}})
        }
        Some(name) if shape == Shape::Document => {
            let schema = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
            json!({"application/json": schema.clone(), "application/yaml": schema})
        }
        Some(name) => {
            let reference = format!("#/components/schemas/{name}");
            json!({"application/json": {"schema": {"$ref": reference}}})
        }
        None if shape == Shape::File => {
            json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}})
        }
        None if shape == Shape::Page => json!({"text/html": {"schema": {"type": "string"}}}),
        None if shape == Shape::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        None => json!({"application/json": {"schema": {}}}),
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name| {
        let schema = match name {
            "applicationId" | "webhookId" | "flowId" | "tokenId" | "requestId" | "connectionId" => {
                json!({"$ref": "#/components/schemas/Id"})
            }
            _ => json!({"type": "string"}),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    };
    names.map(parameter).collect()
}

fn query_parameters(reads: QueryParameters) -> Vec<Value> {
    let parameter = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description});
    let page = |what: &str| {
        let per_page =
            json!({"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX, "default": PER_PAGE_DEFAULT});
        vec![
            parameter("page", json!({"type": "integer", "minimum": 0, "default": 0}), "Counted from 0"),
            parameter("perPage", per_page, &format!("{what} on a page")),
        ]
    };
    let list = |kind: &ListKind| {
        let fields: Vec<&str> = kind.sort_fields.iter().map(|(word, _)| *word).collect();
        let mut parameters = page("Items");
        parameters.extend([
            parameter(
                "sortField",
                json!({"type": "string", "enum": fields, "default": fields[0]}),
                "The order",
            ),
            parameter(
                "sortDirection",
                json!({"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
                "Its direction",
            ),
            parameter(
                "filterField",
                json!({"type": "string", "enum": [kind.filter_field]}),
                "What the filter looks at; without it nothing is filtered",
            ),
            parameter(
                "filter",
                json!({"type": "string"}),
                "A glob over the whole name, case ignored: `*` any run, `?` any character, `\\` quotes",
            ),
        ]);
        parameters.extend(kind.more.iter().map(|name| narrowing(name, &parameter)));
        parameters
    };
    let span = || {
        let most = DURATION_MILLIS_MAX;
        let duration = json!({"type": "integer", "minimum": 1, "maximum": most, "default": most});
        let end = json!({"type": "integer", "default": 0});
        vec![
            parameter("duration", duration, "Milliseconds"),
            parameter("end", end, "Milliseconds since 1970; 0 for now"),
        ]
    };
    match reads {
        QueryParameters::Nothing => Vec::new(),
        QueryParameters::Stream => {
            let mut parameters = page("Records");
            parameters.extend([
                parameter(
                    "payload",
                    json!({"type": "boolean", "default": true}),
                    "Whether items have payloads",
                ),
                parameter(
                    "updates",
                    json!({"type": "boolean", "default": false}),
                    "Of a stream: whether records that have changed are told again",
                ),
            ]);
            parameters.extend(record_filters(&parameter));
            parameters
        }
        QueryParameters::RecordFilters => record_filters(&parameter),
        QueryParameters::Ids => vec![
            parameter("ids", json!({"type": "string"}), "Ids of webhooks, with commas"),
            parameter(
                "recent",
                json!({"type": "boolean"}),
                "Whether what their records tell of the last minutes is in it",
            ),
        ],
        QueryParameters::List(kind) => list(kind),
        QueryParameters::Export | QueryParameters::Import => document_parameters(reads, &parameter),
        QueryParameters::Keys => vec![parameter(
            "key",
            json!({"type": "array", "items": {"type": "string"}}),
            "Only the globals with these keys",
        )],
        QueryParameters::FlowStats => {
            let mut parameters = span();
            parameters.push(parameter(
                "resolution",
                json!({"type": "integer", "multipleOf": HOUR_MILLIS, "default": HOUR_MILLIS}),
                "Milliseconds of each row",
            ));
            parameters
        }
        QueryParameters::FlowErrors => {
            let mut parameters = span();
            let limit = json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 25});
            parameters.push(parameter("limit", limit, "Most errors"));
            let direction = json!({"type": "string", "enum": ["asc", "desc"], "default": "desc"});
            parameters.push(parameter("sortDirection", direction, "The order, by time"));
            parameters
        }
        QueryParameters::DeadLetters => {
            let mut parameters = page("Letters");
            let lower = "Those of lower places: the `next` of a list continues it";
            parameters.push(parameter("before", json!({"type": "integer", "minimum": 0}), lower));
            parameters.extend(letter_filters(&parameter));
            parameters
        }
        QueryParameters::DeadLetterFilters => letter_filters(&parameter),
        QueryParameters::AllowReplacement => vec![parameter(
            "allowReplacement",
            json!({"type": "boolean", "default": false}),
            "Replaces the version with the same name",
        )],
        QueryParameters::IncludeWorkflows => vec![parameter(
            "includeWorkflows",
            json!({"type": "boolean", "default": false}),
            "Deletes every flow that has a trigger on the webhook too",
        )],
        QueryParameters::Seconds => {
            vec![parameter(
                "seconds",
                json!({"type": "integer", "minimum": 1, "maximum": SAMPLES_MAX, "default": SAMPLES_MAX}),
                "How far back",
            )]
        }
    }
}

/// The parameters of an export and of an import.
fn document_parameters(reads: QueryParameters, parameter: &dyn Fn(&str, Value, &str) -> Value) -> Vec<Value> {
    let flag =
        |name, default: bool, help| parameter(name, json!({"type": "boolean", "default": default}), help);
    let id = || json!({"$ref": "#/components/schemas/Id"});
    if reads == QueryParameters::Import {
        return vec![
            parameter("applicationId", id(), "Imports into this application, whatever the document names"),
            flag("dryRun", false, "Answers what would be done, and does nothing"),
            flag("prune", false, "Deletes what the document does not hold, of the kinds that it lists"),
        ];
    }
    let mut application = parameter("applicationId", id(), "The application");
    application["required"] = json!(true);
    vec![
        application,
        parameter(
            "format",
            json!({"type": "string", "enum": ["json", "yaml"]}),
            "Default: by `Accept`, else json",
        ),
        flag("ids", true, "Whether ids are in it; without them what is imported is found by name"),
    ]
}

/// The parameters that narrow a list of records.
fn record_filters(parameter: &dyn Fn(&str, Value, &str) -> Value) -> Vec<Value> {
    let text = |name, help| parameter(name, json!({"type": "string"}), help);
    vec![
        text("status", "Those with one of these statuses: `404`, `4xx`, `200,5xx`"),
        text("method", "Those with one of these methods, with commas"),
        text("kind", "Those of one of these kinds, with commas: request, connect, message, close"),
        text("connection", "Those of the WebSocket with this connectionId"),
        text("since", "Those from then on: milliseconds since 1970, or RFC 3339"),
        text("until", "Those before then"),
        text(
            "search",
            "Those with this text in the path, a header or the body, ASCII letters in either case",
        ),
    ]
}

/// The parameters that narrow a list of dead letters.
fn letter_filters(parameter: &dyn Fn(&str, Value, &str) -> Value) -> Vec<Value> {
    let text = |name, help| parameter(name, json!({"type": "string"}), help);
    vec![
        text("reason", "Those that were given up for this reason"),
        text("nodeId", "Those of this node"),
        text("since", "Those from then on: milliseconds since 1970, or RFC 3339"),
        text("until", "Those before then"),
        text("search", "Those in which, or in whose payload, this text stands"),
    ]
}

/// A parameter that narrows the list of flows or of versions.
fn narrowing(name: &str, parameter: &dyn Fn(&str, Value, &str) -> Value) -> Value {
    match name {
        "triggerFilter" => {
            let entry = json!({
                "type": "object",
                "properties": {"type": {"type": "string"}, "key": {"type": "string"}},
                "additionalProperties": false,
            });
            let mut filter = parameter(
                name,
                json!({"type": "array", "items": entry}),
                "Flows that run with a trigger that fits any entry: \
                `triggerFilter[0][type]=webhook&triggerFilter[0][key]=…`",
            );
            if let Some(object) = filter.as_object_mut() {
                object.insert("style".to_owned(), json!("deepObject"));
                object.insert("explode".to_owned(), json!(true));
            }
            filter
        }
        "flowClass" => parameter(name, schemas::flow_class(), "The class of the flows"),
        "query" => parameter(
            name,
            json!({"type": "string", "contentMediaType": "application/json"}),
            "Conditions over fields ($eq, $in, $contains, $and, $or …) in place of the other filters, as JSON",
        ),
        "allVersions" => parameter(name, json!({"type": "boolean", "enum": [false]}), "Not offered"),
        _ => parameter(name, json!({"type": "string"}), "The name of the versions"),
    }
}
