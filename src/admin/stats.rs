//! Numbers for people: `GET /stats` with the sampler behind it, what a webhook has used of its limits, and the
//! settings that a page needs to explain itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::call::{Call, Outcome};
use super::error::ApiError;
use super::query::{self, Parameters};
use super::recent::recent;
use super::{AdminState, Usage};
use crate::base::id::Id;
use crate::metrics::SAMPLES_MAX;
use crate::model::NODE_TYPES;
use crate::settings::Address;
use crate::store::{Resource, Source};

/// How often the counters are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Webhooks whose usage is told at once: a page of a list.
const USAGE_MAX: usize = query::PER_PAGE_MAX as usize;

/// Samples the counters each second, for as long as it is polled.
pub(crate) async fn sample(state: Arc<AdminState>) {
    let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
    // A sample knows how long it is: after a stall, one long one is truer than a burst of empty ones.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        state.series().push(state.clock.now(), state.engine.snapshot());
    }
}

pub(super) async fn stats(call: Call) -> Outcome {
    let parameters = Parameters::of(&call.uri)?;
    let most = SAMPLES_MAX as u64;
    let seconds = query::number(parameters.given("seconds"), "seconds", 1, most)?.unwrap_or(most);
    let points = call.state.series().points(u32::try_from(seconds).unwrap_or(u32::MAX));
    Ok(Json(points).into_response())
}

pub(super) async fn settings(call: Call) -> Outcome {
    let about = &call.state.about;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ingressUrl": ingress_url(&call.state, &call.headers),
        "ingressListen": about.ingress.to_string(),
        "limits": {
            "requestsPerWindow": about.limits.requests_per_window,
            "windowSeconds": about.limits.window_seconds,
            "concurrency": about.limits.concurrency,
            "payloadBytes": about.limits.payload_bytes,
            "replyTimeoutSeconds": about.limits.reply_timeout_seconds,
        },
        "nodeTypes": NODE_TYPES,
        "isClusterNode": call.state.engine.cluster().is_some(),
    }))
    .into_response())
}

/// Where callers reach the ingress, without a slash at the end: as it was set, else as it listens. `None` for a Unix
/// socket, which has no URL.
pub(super) fn ingress_url(state: &AdminState, headers: &HeaderMap) -> Option<String> {
    if let Some(url) = &state.about.public_url {
        return Some(url.clone());
    }
    let Address::Tcp(address) = &state.about.ingress else { return None };
    let scheme = state.about.scheme;
    if !address.ip().is_unspecified() {
        return Some(format!("{scheme}://{address}"));
    }
    // It listens on every address of the machine: the one that the admin listener was reached on is one of them.
    let host = headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok())?;
    Some(format!("{scheme}://{}:{}", host.host(), address.port()))
}

pub(super) async fn usage(call: Call) -> Outcome {
    let application = call.id(Resource::Application)?;
    let parameters = Parameters::of(&call.uri)?;
    let must =
        || ApiError::validation(format!("`ids` must be at most {USAGE_MAX} webhooks' ids with commas"));
    let text = parameters.given("ids").unwrap_or_default();
    let ids: Vec<Id> = text
        .split(',')
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().map_err(|_| must()))
        .collect::<Result<_, ApiError>>()?;
    if ids.len() > USAGE_MAX {
        return Err(must());
    }
    // One of another application is left out, as one that is not there is.
    let found = call.state.look(move |store| {
        let mut found: Vec<Id> = Vec::with_capacity(ids.len());
        for id in ids {
            let webhook = store.webhook(&id)?;
            found.extend(webhook.filter(|webhook| webhook.application_id == application).map(|_| id));
        }
        Ok(found)
    });
    let mut items: Vec<Value> = {
        let usages = call.state.engine.usage(&found.await?).await;
        let usages = usages.map_err(|(status, message)| ApiError::from_engine(status, message))?;
        usages.iter().map(shown).collect()
    };
    if parameters.flag("recent")? {
        add_recent(&call.state, &mut items);
    }
    let count = items.len();
    Ok(Json(json!({"items": items, "count": count, "applicationId": application.to_string()}))
        .into_response())
}

/// Adds what the records of each webhook tell of the last minutes. The cores have handed over what they had by then.
fn add_recent(state: &AdminState, items: &mut [Value]) {
    let now = state.clock.now().unix_millis;
    for item in items {
        let id = item["webhookId"].as_str().and_then(|id| id.parse::<Id>().ok());
        let Some(id) = id else { continue };
        let (records, _) = state.shelf.book().look(id);
        item["recent"] = recent(&records, now);
    }
}

fn shown(usage: &Usage) -> Value {
    json!({
        "webhookId": usage.webhook.to_string(),
        "calls": usage.calls,
        "callsMax": usage.calls_max,
        "windowSeconds": usage.window_seconds,
        "concurrent": usage.concurrent,
        "concurrentMax": usage.concurrent_max,
        "payloadBytesMax": usage.payload_bytes_max,
        "replyTimeoutSeconds": usage.reply_timeout_seconds,
        "lastCall": usage.last_call_millis.map(crate::model::time_text),
    })
}
