//! The differences between applications, webhooks, flows and versions of flows for the handlers of
//! [`resources`](super::resources).

use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value};

use super::call::{Call, Outcome};
use super::error::ApiError;
use super::query::{self, ListKind, Parameters};
use super::resources::{Options, RestResource, Save, in_application, list_answer};
use super::warnings;
use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, ModelError, Webhook};
use crate::store::{ChangeError, Changes, ListQuery, Listed, Resource, Source, Store, StoreError};

fn member(name: &str, id: &Id) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::from(id.to_string()))])
}

impl RestResource for Application {
    const KIND: Resource = Resource::Application;
    const LIST: &'static ListKind = &query::APPLICATIONS;
    type Owner = ();
    type Key = Id;

    fn owner(_call: &Call) -> Result<(), ApiError> {
        Ok(())
    }

    fn key(call: &Call) -> Result<Id, ApiError> {
        call.id(Resource::Application)
    }

    fn owner_members((): &()) -> Map<String, Value> {
        Map::new()
    }

    fn list(
        store: &Store,
        (): &(),
        query: &ListQuery,
    ) -> Result<Result<Listed<Application>, Resource>, StoreError> {
        store.applications(query).map(Ok)
    }

    fn find(store: &Store, id: &Id) -> Result<Option<Application>, StoreError> {
        store.application(id)
    }

    fn create(changes: &mut Changes<'_>, (): &(), save: &Save) -> Result<Application, ChangeError> {
        changes.insert_application(Application::create(&save.body, save.now)?)
    }

    fn patch(changes: &mut Changes<'_>, id: &Id, save: &Save) -> Result<Application, ChangeError> {
        changes.update_application(id, |application| application.patch(&save.body, save.now))
    }

    fn delete(changes: &mut Changes<'_>, id: &Id, _options: &Options) -> Result<(), ChangeError> {
        changes.delete_application(id)
    }

    fn shown(&self) -> Value {
        self.to_api()
    }
}

/// Makes a resource of one that an application owns and that its path names by an id: webhooks and flows differ in the
/// names of what they are read, kept and checked with.
macro_rules! owned_by_application {
    ($owned:ident, $list_kind:path, $list:ident, $find:ident, $check:ident, $insert:ident, $update:ident, $delete:expr, $warnings:path) => {
        impl RestResource for $owned {
            const KIND: Resource = Resource::$owned;
            const LIST: &'static ListKind = &$list_kind;
            type Owner = Id;
            type Key = (Id, Id);

            fn owner(call: &Call) -> Result<Id, ApiError> {
                call.id(Resource::Application)
            }

            fn key(call: &Call) -> Result<(Id, Id), ApiError> {
                Ok((call.id(Resource::Application)?, call.id(Self::KIND)?))
            }

            fn owner_members(application: &Id) -> Map<String, Value> {
                member("applicationId", application)
            }

            fn list(
                store: &Store,
                application: &Id,
                query: &ListQuery,
            ) -> Result<Result<Listed<$owned>, Resource>, StoreError> {
                in_application(store, application, || store.$list(application, query))
            }

            fn find(store: &Store, (application, id): &(Id, Id)) -> Result<Option<$owned>, StoreError> {
                Ok(store.$find(id)?.filter(|found| found.application_id == *application))
            }

            fn create(
                changes: &mut Changes<'_>,
                application: &Id,
                save: &Save,
            ) -> Result<$owned, ChangeError> {
                must_be_there(changes, application)?;
                let created = $owned::create(&save.body, *application, save.now)?;
                save.engine.$check(&created)?;
                changes.$insert(created)
            }

            fn patch(
                changes: &mut Changes<'_>,
                (application, id): &(Id, Id),
                save: &Save,
            ) -> Result<$owned, ChangeError> {
                changes.$update(application, id, |patched| {
                    patched.patch(&save.body, save.now)?;
                    save.engine.$check(patched)
                })
            }

            fn delete(
                changes: &mut Changes<'_>,
                (application, id): &(Id, Id),
                options: &Options,
            ) -> Result<(), ChangeError> {
                let delete: fn(&mut Changes<'_>, &Id, &Id, &Options) -> Result<(), ChangeError> = $delete;
                delete(changes, application, id, options)
            }

            fn shown(&self) -> Value {
                self.to_api()
            }

            fn warnings(&self, store: &Store) -> Result<Option<Vec<String>>, StoreError> {
                $warnings(store, self).map(Some)
            }
        }
    };
}

owned_by_application!(
    Webhook,
    query::WEBHOOKS,
    webhooks,
    webhook,
    check_webhook,
    insert_webhook,
    update_webhook,
    |changes, application, id, options| changes.delete_webhook(application, id, options.include_workflows),
    warnings::of_webhook
);

owned_by_application!(
    Flow,
    query::FLOWS,
    flows,
    flow,
    check_flow,
    insert_flow,
    update_flow,
    |changes, application, id, _| changes.delete_flow(application, id),
    warnings::of_flow
);

impl RestResource for FlowVersion {
    const KIND: Resource = Resource::FlowVersion;
    const LIST: &'static ListKind = &query::FLOW_VERSIONS;
    type Owner = (Id, Id);
    /// The flow, and an id or a name.
    type Key = ((Id, Id), String);

    fn owner(call: &Call) -> Result<(Id, Id), ApiError> {
        Flow::key(call)
    }

    fn key(call: &Call) -> Result<((Id, Id), String), ApiError> {
        Ok((Flow::key(call)?, call.parameter("flowVersionId").to_owned()))
    }

    fn owner_members((application, flow): &(Id, Id)) -> Map<String, Value> {
        let mut members = member("applicationId", application);
        members.extend(member("flowId", flow));
        members
    }

    fn list(
        store: &Store,
        owner: &(Id, Id),
        query: &ListQuery,
    ) -> Result<Result<Listed<FlowVersion>, Resource>, StoreError> {
        match Flow::find(store, owner)? {
            Some(flow) => store.flow_versions(&flow.id, query).map(Ok),
            None => Ok(Err(Resource::Flow)),
        }
    }

    fn find(
        store: &Store,
        ((application, flow), word): &((Id, Id), String),
    ) -> Result<Option<FlowVersion>, StoreError> {
        let version = store.flow_version(flow, word)?;
        Ok(version.filter(|version| version.flow.application_id == *application))
    }

    fn create(
        changes: &mut Changes<'_>,
        (application, flow): &(Id, Id),
        save: &Save,
    ) -> Result<FlowVersion, ChangeError> {
        let flow = changes.flow_of(application, flow)?;
        let version = FlowVersion::create(&save.body, &flow, save.now)?;
        save.engine.check_flow(&version.flow)?;
        changes.insert_flow_version(version, save.options.allow_replacement)
    }

    fn patch(
        changes: &mut Changes<'_>,
        ((application, flow), word): &((Id, Id), String),
        save: &Save,
    ) -> Result<FlowVersion, ChangeError> {
        changes.update_flow_version(application, flow, word, |version| version.patch(&save.body, save.now))
    }

    fn delete(
        changes: &mut Changes<'_>,
        ((application, flow), word): &((Id, Id), String),
        _options: &Options,
    ) -> Result<(), ChangeError> {
        changes.delete_flow_version(application, flow, word)
    }

    fn shown(&self) -> Value {
        self.to_api()
    }

    fn warnings(&self, store: &Store) -> Result<Option<Vec<String>>, StoreError> {
        warnings::of_flow(store, &self.flow).map(Some)
    }
}

/// The versions of an application's flows that have one name.
pub(super) async fn list_flows_by_version(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let parameters = Parameters::of(&call.uri)?.list(&query::FLOWS_BY_VERSION)?;
    let (query, version) = (parameters.query.clone(), parameters.version.clone());
    let listed = call.state.look(move |store| {
        in_application(store, &application, || {
            store.flows_by_version(&application, version.as_deref(), &query)
        })
    });
    let listed = listed.await?.map_err(ApiError::missing)?;
    let answer: Response = list_answer(&parameters, &listed, member("applicationId", &application));
    Ok(answer)
}

/// The flow that a path names.
pub(super) fn flow_of(call: &Call) -> impl Future<Output = Result<Flow, ApiError>> + use<> {
    let (state, key) = (Arc::clone(&call.state), Flow::key(call));
    async move {
        let key = key?;
        let found = state.look(move |store| Flow::find(store, &key)).await?;
        found.ok_or_else(|| ApiError::missing(Resource::Flow))
    }
}

/// Whether there is such an application.
pub(super) fn must_be_there(changes: &Changes<'_>, application: &Id) -> Result<(), ChangeError> {
    match changes.application(application)? {
        Some(_) => Ok(()),
        None => Err(ChangeError::Missing(Resource::Application)),
    }
}

/// An error about a member of a body that stands in a list.
pub(super) fn within(error: ModelError, list: &str, index: usize) -> ChangeError {
    ChangeError::Refused(error.within(&format!("{list}[{index}]")))
}

/// The id that a field of a body holds.
pub(super) fn id_in(value: &Value, field: &str) -> Option<Id> {
    value.get(field)?.as_str()?.parse().ok()
}
