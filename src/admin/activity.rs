//! `…/flows/{flowId}/stats` and `…/errors`: how often a flow ran lately, and what went wrong, as the platform's clients ask.

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::call::{Call, Outcome};
use super::error::ApiError;
use super::kinds::flow_of;
use super::query::{self, Parameters};
use crate::model::time_text;

/// Milliseconds of an hour: runs are counted by it.
pub(super) const HOUR_MILLIS: u64 = 3_600_000;
/// Default of `duration`, and how long runs are kept.
pub(super) const DURATION_MILLIS_MAX: u64 = 24 * HOUR_MILLIS;
/// Default of `limit`.
const ERRORS_DEFAULT: u64 = 25;
/// Largest `limit`: as many as are kept.
const ERRORS_MAX: u64 = 100;

/// Counts of a flow's recent runs, on all cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowActivity {
    /// Hours in which it ran, in no order: when each began in milliseconds since 1970, triggers, nodes that failed.
    pub hours: Vec<(u64, u64, u64)>,
    /// The last errors, the oldest first.
    pub errors: Vec<NodeFailure>,
}

/// An error of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFailure {
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// The node.
    pub node: String,
    /// The text of the error.
    pub message: String,
}

/// A span of time that is asked for.
struct QuerySpan {
    start: u64,
    end: u64,
}

impl QuerySpan {
    /// Reads `duration` and `end`, in milliseconds. A parameter that would narrow further is refused: runs are not kept
    /// apart by version.
    fn read(parameters: &Parameters, now: u64, more: &[&str]) -> Result<QuerySpan, ApiError> {
        parameters.only(&[&["duration", "end"], more].concat())?;
        let duration = query::number(parameters.given("duration"), "duration", 1, DURATION_MILLIS_MAX)?;
        let end = query::number(parameters.given("end"), "end", 0, u64::from(u32::MAX) * 1_000)?;
        let end = end.filter(|end| *end > 0).unwrap_or(now);
        Ok(QuerySpan { start: end.saturating_sub(duration.unwrap_or(DURATION_MILLIS_MAX)), end })
    }
}

pub(super) async fn flow_stats(call: Call) -> Outcome {
    let flow = flow_of(&call).await?;
    let parameters = Parameters::of(&call.uri)?;
    let span = QuerySpan::read(&parameters, call.state.clock.now().unix_millis, &["resolution"])?;
    let resolution =
        query::number(parameters.given("resolution"), "resolution", HOUR_MILLIS, DURATION_MILLIS_MAX)?;
    let resolution = resolution.unwrap_or(HOUR_MILLIS);
    if !resolution.is_multiple_of(HOUR_MILLIS) {
        return Err(ApiError::validation(format!(
            "`resolution` must be a multiple of {HOUR_MILLIS}: a whole hour"
        )));
    }
    let hours = call.state.engine.activity(flow.id).hours;
    let first = span.start - span.start % resolution;
    let step = usize::try_from(resolution).unwrap_or(usize::MAX);
    let metrics: Vec<Value> = (first..span.end)
        .step_by(step)
        .map(|time| {
            let within = hours.iter().filter(|(hour, ..)| (time..time + resolution).contains(hour));
            let (runs, failures) =
                within.fold((0, 0), |sum, (_, runs, failures)| (sum.0 + runs, sum.1 + failures));
            json!({"time": time_text(time), "runCount": runs, "pathsFailed": failures})
        })
        .collect();
    let answer = json!({
        "start": time_text(span.start), "end": time_text(span.end), "resolution": resolution, "metrics": metrics,
    });
    Ok(Json(answer).into_response())
}

pub(super) async fn flow_errors(call: Call) -> Outcome {
    let flow = flow_of(&call).await?;
    let parameters = Parameters::of(&call.uri)?;
    let span = QuerySpan::read(&parameters, call.state.clock.now().unix_millis, &["limit", "sortDirection"])?;
    let limit = query::number(parameters.given("limit"), "limit", 1, ERRORS_MAX)?.unwrap_or(ERRORS_DEFAULT);
    let descending = parameters.descending(true)?;
    let mut failures = call.state.engine.activity(flow.id).errors;
    failures.retain(|failure| (span.start..=span.end).contains(&failure.unix_millis));
    if descending {
        failures.reverse();
    }
    let label = |id: &str| {
        let node = flow.nodes.iter().find(|node| node.id == id)?;
        node.meta.as_ref()?.get("label").cloned()
    };
    let shown = failures.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|failure| {
        let mut shown = json!({
            "time": time_text(failure.unix_millis),
            "nodeId": failure.node,
            "error": {"name": "NodeError", "message": failure.message},
        });
        if let (Some(label), Some(object)) = (label(&failure.node), shown.as_object_mut()) {
            object.insert("nodeLabel".to_owned(), label);
        }
        shown
    });
    let answer = json!({
        "start": time_text(span.start), "end": time_text(span.end), "limit": limit,
        "sortDirection": query::direction(descending), "errors": shown.collect::<Vec<_>>(),
    });
    Ok(Json(answer).into_response())
}
