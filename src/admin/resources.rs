//! Applications, webhooks and flows: the handlers of their paths.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::AdminState;
use super::error::ApiError;
use super::query::{self, ListParameters};
use super::routes::{Call, Outcome};
use crate::base::id::Id;
use crate::model::{Application, Flow, Webhook};
use crate::store::{ChangeError, Changes, Listed, Resource, Source, Store, StoreError};

pub(super) async fn list_applications(call: Call) -> Outcome {
    let parameters = query::list(&query::parameters(&call.uri)?, false)?;
    let query = parameters.query.clone();
    let listed = call.state.look(move |store| store.applications(&query)).await?;
    Ok(Json(list_answer(&parameters, &listed, Application::to_api, None)).into_response())
}

pub(super) async fn create_application(mut call: Call) -> Outcome {
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let created = call
        .state
        .change(move |store| {
            let application = Application::create(&body, now)?;
            engine.check_application(&application)?;
            store.insert_application(application)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(created.value.to_api())).into_response())
}

pub(super) async fn show_application(call: Call) -> Outcome {
    let id = call.id(Resource::Application)?;
    let application = call.state.look(move |store| store.application(&id)).await?;
    let application = application.ok_or_else(|| ApiError::missing(Resource::Application))?;
    Ok(Json(application.to_api()).into_response())
}

pub(super) async fn patch_application(mut call: Call) -> Outcome {
    let id = call.id(Resource::Application)?;
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let changed = call
        .state
        .change(move |store| {
            store.update_application(id, move |application| {
                application.patch(&body, now)?;
                engine.check_application(application)
            })
        })
        .await?;
    Ok(Json(changed.value.to_api()).into_response())
}

pub(super) async fn delete_application(call: Call) -> Outcome {
    let id = call.id(Resource::Application)?;
    call.state.change(move |store| store.delete_application(id)).await?;
    Ok(success())
}

pub(super) async fn list_webhooks(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let parameters = query::list(&query::parameters(&call.uri)?, false)?;
    let query = parameters.query.clone();
    let listed = call
        .state
        .look(move |store| in_application(store, &application, || store.webhooks(&application, &query)))
        .await?
        .ok_or_else(|| ApiError::missing(Resource::Application))?;
    Ok(Json(list_answer(&parameters, &listed, Webhook::to_api, Some(application))).into_response())
}

pub(super) async fn create_webhook(mut call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let created = call
        .state
        .change(move |store| {
            store.change(move |changes| {
                must_be_there(changes, &application)?;
                let webhook = Webhook::create(&body, application, now)?;
                engine.check_webhook(&webhook)?;
                changes.insert_webhook(webhook)
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(created.value.to_api())).into_response())
}

pub(super) async fn show_webhook(call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    Ok(Json(webhook.to_api()).into_response())
}

pub(super) async fn patch_webhook(mut call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let id = call.id(Resource::Webhook)?;
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let changed = call
        .state
        .change(move |store| {
            store.update_webhook(application, id, move |webhook| {
                webhook.patch(&body, now)?;
                engine.check_webhook(webhook)
            })
        })
        .await?;
    Ok(Json(changed.value.to_api()).into_response())
}

pub(super) async fn delete_webhook(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let id = call.id(Resource::Webhook)?;
    let with_flows = query::flag(&query::parameters(&call.uri)?, "includeWorkflows")?;
    call.state.change(move |store| store.delete_webhook(application, id, with_flows)).await?;
    Ok(success())
}

pub(super) async fn list_flows(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let parameters = query::list(&query::parameters(&call.uri)?, true)?;
    let query = parameters.query.clone();
    let listed = call
        .state
        .look(move |store| in_application(store, &application, || store.flows(&application, &query)))
        .await?
        .ok_or_else(|| ApiError::missing(Resource::Application))?;
    Ok(Json(list_answer(&parameters, &listed, Flow::to_api, Some(application))).into_response())
}

pub(super) async fn create_flow(mut call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let created = call
        .state
        .change(move |store| {
            store.change(move |changes| {
                must_be_there(changes, &application)?;
                let flow = Flow::create(&body, application, now)?;
                engine.check_flow(&flow)?;
                changes.insert_flow(flow)
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(created.value.to_api())).into_response())
}

pub(super) async fn show_flow(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let id = call.id(Resource::Flow)?;
    let flow = call.state.look(move |store| store.flow(&id)).await?;
    let flow = flow.filter(|flow| flow.application_id == application);
    Ok(Json(flow.ok_or_else(|| ApiError::missing(Resource::Flow))?.to_api()).into_response())
}

pub(super) async fn patch_flow(mut call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let id = call.id(Resource::Flow)?;
    let body = call.json().await?;
    let engine = Arc::clone(&call.state.engine);
    let now = call.state.clock.now().unix_millis;
    let changed = call
        .state
        .change(move |store| {
            store.update_flow(application, id, move |flow| {
                flow.patch(&body, now)?;
                engine.check_flow(flow)
            })
        })
        .await?;
    Ok(Json(changed.value.to_api()).into_response())
}

pub(super) async fn delete_flow(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let id = call.id(Resource::Flow)?;
    call.state.change(move |store| store.delete_flow(application, id)).await?;
    Ok(success())
}

/// A webhook of an application.
pub(super) async fn webhook_of(state: &AdminState, application: Id, id: Id) -> Result<Webhook, ApiError> {
    let webhook = state.look(move |store| store.webhook(&id)).await?;
    let webhook = webhook.filter(|webhook| webhook.application_id == application);
    webhook.ok_or_else(|| ApiError::missing(Resource::Webhook))
}

fn success() -> axum::response::Response {
    Json(json!({"success": true})).into_response()
}

fn must_be_there(changes: &Changes<'_>, application: &Id) -> Result<(), ChangeError> {
    match changes.application(application)? {
        Some(_) => Ok(()),
        None => Err(ChangeError::Missing(Resource::Application)),
    }
}

/// What `look` finds, or `None` where there is no such application.
fn in_application<T>(
    store: &Store,
    application: &Id,
    look: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match store.application(application)? {
        Some(_) => look().map(Some),
        None => Ok(None),
    }
}

fn list_answer<T>(
    parameters: &ListParameters,
    listed: &Listed<T>,
    show: impl Fn(&T) -> Value,
    application: Option<Id>,
) -> Value {
    let mut answer = json!({
        "items": listed.items.iter().map(show).collect::<Vec<_>>(),
        "count": listed.items.len(),
        "totalCount": listed.total,
        "perPage": parameters.query.per_page,
        "page": parameters.query.page,
        "sortField": parameters.sort_field(),
        "sortDirection": parameters.sort_direction(),
        "filterField": if parameters.filter.is_empty() { "" } else { "name" },
        "filter": parameters.filter,
    });
    if let (Some(application), Some(object)) = (application, answer.as_object_mut()) {
        object.insert("applicationId".to_owned(), Value::from(application.to_string()));
    }
    answer
}
