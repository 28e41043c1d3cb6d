//! `/applications/{applicationId}/globals`: all of an application's globals, some, or one by its key.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::AdminState;
use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use super::query::Parameters;
use crate::base::id::Id;
use crate::model::{Application, GLOBALS_MAX, GlobalChange, ModelError, read_change_of, read_changes};
use crate::store::{Resource, Source};

pub(super) async fn list_globals(call: Call) -> Outcome {
    let application = application(&call.state, call.id(Resource::Application)?).await?;
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(&["key"])?;
    let keys = parameters.all("key");
    let chosen =
        application.globals.iter().filter(|global| keys.is_empty() || keys.contains(&global.key.as_str()));
    let items: Vec<Value> = chosen.map(|global| global.to_api()).collect();
    let answer = json!({
        "applicationId": application.id.to_string(),
        "count": items.len(),
        "totalCount": application.globals.len(),
        "items": items,
    });
    Ok(Json(answer).into_response())
}

pub(super) async fn show_global(call: Call) -> Outcome {
    let application = application(&call.state, call.id(Resource::Application)?).await?;
    let key = call.parameter("key");
    let global = application.globals.iter().find(|global| global.key == key);
    let global = global.ok_or_else(|| ApiError::new(Kind::NotFound, "Global was not found"))?;
    Ok(Json(global.to_api()).into_response())
}

/// Sets or removes the globals that a list names, or the one that an object names. Answers the application, as the
/// platform's clients expect it.
pub(super) async fn patch_globals(mut call: Call) -> Outcome {
    let body = call.json().await?;
    let changes = match &body {
        Value::Array(list) if list.len() > GLOBALS_MAX => {
            return Err(
                ModelError::new("body", format!("must be a list of at most {GLOBALS_MAX} globals")).into()
            );
        }
        Value::Array(list) => read_changes(list, "globals")?,
        one => read_changes(std::slice::from_ref(one), "globals")?,
    };
    change(call, changes).await
}

pub(super) async fn patch_global(mut call: Call) -> Outcome {
    let body = call.json().await?;
    let change_of = read_change_of(call.parameter("key"), &body)?;
    change(call, vec![change_of]).await
}

async fn change(call: Call, changes: Vec<GlobalChange>) -> Outcome {
    let id = call.id(Resource::Application)?;
    let now = call.state.clock.now().unix_millis;
    let changed = call.state.change(move |store| {
        store.update_application(id, move |application| application.change_globals(changes.clone(), now))
    });
    Ok(Json(changed.await?.value.to_api()).into_response())
}

async fn application(state: &AdminState, id: Id) -> Result<Application, ApiError> {
    let found = state.look(move |store| store.application(&id)).await?;
    found.ok_or_else(|| ApiError::missing(Resource::Application))
}
