//! `POST …/webhooks/{webhookId}/token`: another token for a webhook
//! ([verification](crate::guide::verification#who-may-call)).

use axum::Json;
use axum::response::IntoResponse;

use super::call::{Call, Outcome};
use super::resources::with_warnings;
use crate::model::TokenChange;
use crate::store::Resource;

pub(super) async fn change_token(mut call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let change = TokenChange::read(&call.json_or_nothing().await?)?;
    let now = call.state.clock.now().unix_millis;
    let shown = call.state.change(move |store| {
        let changed = store.change_token(application, id, change, now)?;
        Ok(with_warnings(store, &changed.value)?)
    });
    Ok(Json(shown.await?).into_response())
}
