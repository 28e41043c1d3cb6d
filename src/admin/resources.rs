//! The four kinds of resource (applications, webhooks, flows, versions of flows) behind one set of handlers: what differs
//! between them is a [`RestResource`] each, in [`super::kinds`].

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::call::{Call, MadeId, Outcome};
use super::error::ApiError;
use super::query::{self, ListKind, ListParameters, Parameters};
use super::{AdminState, EngineAccess};
use crate::base::id::Id;
use crate::model::Webhook;
use crate::store::{ChangeError, Changes, ListQuery, Listed, Resource, Source, Store, StoreError};

/// A kind of resource as the handlers need it.
pub(super) trait RestResource: Sized + Send + 'static {
    /// Its name in errors.
    const KIND: Resource;
    /// The parameters of its list.
    const LIST: &'static ListKind;
    /// The ids in a path that precede the resource's own.
    type Owner: Clone + Send + Sync + 'static;
    /// All ids in a path, the resource's own included.
    type Key: Clone + Send + 'static;

    /// Reads the owner of a path.
    fn owner(call: &Call) -> Result<Self::Owner, ApiError>;
    /// Reads the whole path.
    fn key(call: &Call) -> Result<Self::Key, ApiError>;
    /// The members of a list's answer that name its owner.
    fn owner_members(owner: &Self::Owner) -> Map<String, Value>;

    /// A page; the missing owner, if there is none.
    fn list(
        store: &Store,
        owner: &Self::Owner,
        query: &ListQuery,
    ) -> Result<Result<Listed<Self>, Resource>, StoreError>;
    /// The resource, if there is one.
    fn find(store: &Store, key: &Self::Key) -> Result<Option<Self>, StoreError>;
    /// Reads a body, checks it and keeps it.
    fn create(changes: &mut Changes<'_>, owner: &Self::Owner, save: &Save) -> Result<Self, ChangeError>;
    /// Replaces the fields that a body names.
    fn patch(changes: &mut Changes<'_>, key: &Self::Key, save: &Save) -> Result<Self, ChangeError>;
    /// Deletes it.
    fn delete(changes: &mut Changes<'_>, key: &Self::Key, options: &Options) -> Result<(), ChangeError>;

    /// As the API shows it, without warnings.
    fn shown(&self) -> Value;
    /// The fields of it that have no effect; `None` for a kind that has no warnings.
    fn warnings(&self, _store: &Store) -> Result<Option<Vec<String>>, StoreError> {
        Ok(None)
    }
}

/// A body that is to be saved.
pub(super) struct Save {
    pub body: Value,
    pub options: Options,
    pub engine: Arc<dyn EngineAccess>,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// The query parameters of a save or a deletion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// `includeWorkflows` of a webhook's deletion.
    pub include_workflows: bool,
    /// `allowReplacement` of a version.
    pub allow_replacement: bool,
}

impl Options {
    fn read(call: &Call) -> Result<Options, ApiError> {
        let parameters = Parameters::of(&call.uri)?;
        Ok(Options {
            include_workflows: parameters.flag("includeWorkflows")?,
            allow_replacement: parameters.flag("allowReplacement")?,
        })
    }
}

impl Save {
    /// Reads the body of a request.
    pub(super) async fn read(call: &mut Call) -> Result<Save, ApiError> {
        let options = Options::read(call)?;
        let body = call.json().await?;
        let now = call.state.clock.now().unix_millis;
        Ok(Save { body, options, engine: Arc::clone(&call.state.engine), now })
    }
}

pub(super) async fn list<R: RestResource>(call: Call) -> Outcome {
    let owner = R::owner(&call)?;
    let parameters = Parameters::of(&call.uri)?.list(R::LIST)?;
    let query = parameters.query.clone();
    let of = owner.clone();
    let listed = call.state.look(move |store| R::list(store, &of, &query)).await?;
    let listed = listed.map_err(ApiError::missing)?;
    Ok(list_answer(&parameters, &listed, R::owner_members(&owner)))
}

pub(super) async fn create<R: RestResource>(mut call: Call) -> Outcome {
    let owner = R::owner(&call)?;
    let save = Save::read(&mut call).await?;
    let shown = call
        .state
        .change(move |store| {
            let created = store.change(move |changes| R::create(changes, &owner, &save))?;
            Ok(with_warnings(store, &created.value)?)
        })
        .await?;
    let made = shown.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).map(MadeId);
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    if let Some(made) = made {
        response.extensions_mut().insert(made);
    }
    Ok(response)
}

pub(super) async fn show<R: RestResource>(call: Call) -> Outcome {
    let key = R::key(&call)?;
    let found = call.state.look(move |store| {
        let found = R::find(store, &key)?;
        found.map(|found| with_warnings(store, &found)).transpose()
    });
    Ok(Json(found.await?.ok_or_else(|| ApiError::missing(R::KIND))?).into_response())
}

pub(super) async fn patch<R: RestResource>(mut call: Call) -> Outcome {
    let key = R::key(&call)?;
    let save = Save::read(&mut call).await?;
    let shown = call
        .state
        .change(move |store| {
            let changed = store.change(move |changes| R::patch(changes, &key, &save))?;
            Ok(with_warnings(store, &changed.value)?)
        })
        .await?;
    Ok(Json(shown).into_response())
}

pub(super) async fn delete<R: RestResource>(call: Call) -> Outcome {
    let key = R::key(&call)?;
    let options = Options::read(&call)?;
    call.state.change(move |store| store.change(move |changes| R::delete(changes, &key, &options))).await?;
    Ok(Json(json!({"success": true})).into_response())
}

/// A resource as one that was asked for is shown: with its warnings, if its kind has any.
pub(super) fn with_warnings<R: RestResource>(store: &Store, resource: &R) -> Result<Value, StoreError> {
    let mut shown = resource.shown();
    if let (Some(warnings), Some(object)) = (resource.warnings(store)?, shown.as_object_mut()) {
        object.insert("warnings".to_owned(), json!(warnings));
    }
    Ok(shown)
}

/// A webhook of an application.
pub(super) async fn webhook_of(state: &AdminState, application: Id, id: Id) -> Result<Webhook, ApiError> {
    let webhook = state.look(move |store| store.webhook(&id)).await?;
    let webhook = webhook.filter(|webhook| webhook.application_id == application);
    webhook.ok_or_else(|| ApiError::missing(Resource::Webhook))
}

/// Lists what `look` finds, or tells that there is no such application.
pub(super) fn in_application<T>(
    store: &Store,
    application: &Id,
    look: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Result<T, Resource>, StoreError> {
    match store.application(application)? {
        Some(_) => look().map(Ok),
        None => Ok(Err(Resource::Application)),
    }
}

/// The answer of a list, with members that name whose it is.
pub(super) fn list_answer<R: RestResource>(
    parameters: &ListParameters,
    listed: &Listed<R>,
    owner: Map<String, Value>,
) -> Response {
    let mut answer = json!({
        "items": listed.items.iter().map(R::shown).collect::<Vec<_>>(),
        "count": listed.items.len(),
        "totalCount": listed.total,
        "perPage": parameters.query.per_page,
        "page": parameters.query.page,
        "sortField": parameters.sort_field,
        "sortDirection": query::direction(parameters.query.descending),
        "filterField": parameters.filter_field,
        "filter": parameters.filter,
    });
    if let Some(object) = answer.as_object_mut() {
        object.extend(owner);
    }
    Json(answer).into_response()
}
