//! `…/deadLetters/{id}/replay`: dead letters are delivered again, all of a flow at a bounded rate and with progress.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::AdminState;
use super::call::{Call, Outcome};
use super::dead_letters::{ALL, LETTER_FILTERS, filters, missing, with_letters};
use super::error::{ApiError, Kind};
use super::kinds::flow_of;
use super::nodes::Others;
use super::query::Parameters;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::store::letters::{LetterQuery, WholeLetter};

/// Pause between two letters: a hundred a second, so that a target that has just come back is not overrun, nor new calls.
const PAUSE: Duration = Duration::from_millis(10);
/// Pause before a letter is tried again for which there was no room.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// How often that is tried.
const BUSY_TRIES_MAX: usize = 60;
/// Letters that are looked up at a time.
const LOOKED_UP: usize = 100;
/// Flows whose last replay is remembered.
const REMEMBERED_MAX: usize = 1_000;

/// The replays of flows, or of webhooks.
#[derive(Default)]
pub(super) struct Replays(Mutex<HashMap<Id, Arc<Progress>>>);

/// Progress of a replay.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Grows at the begin, while there are more to count than one look reaches.
    pub(super) total: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) is_over: AtomicBool,
}

impl Progress {
    pub(super) fn shown(&self) -> Value {
        json!({
            "success": true, "total": self.total.load(Ordering::Relaxed), "replayed": self.replayed.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed), "isRunning": !self.is_over.load(Ordering::Relaxed),
        })
    }
}

impl Replays {
    /// The last replay of a flow or a webhook.
    pub(super) fn of(&self, flow: Id) -> Option<Arc<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&flow).cloned()
    }

    /// Notes the begin of a replay; `false` if one is under way.
    pub(super) fn begin(&self, flow: Id, replay: &Arc<Progress>) -> bool {
        let mut replays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if replays.get(&flow).is_some_and(|replay| !replay.is_over.load(Ordering::Relaxed)) {
            return false;
        }
        if replays.len() >= REMEMBERED_MAX {
            replays.retain(|_, replay| !replay.is_over.load(Ordering::Relaxed));
        }
        replays.insert(flow, Arc::clone(replay));
        true
    }
}

pub(super) async fn replay_dead_letter(call: Call) -> Outcome {
    let (state, others) = (Arc::clone(&call.state), Others::of(&call));
    let flow = flow_of(&call).await?.id;
    let id = call.parameter("id").to_owned();
    let parameters = Parameters::of(&call.uri)?;
    parameters.only(if id == ALL { &LETTER_FILTERS } else { &[] })?;
    if id != ALL {
        let Some(letter) = with_letters(&state, move |letters| letters.find(&flow, &id)).await? else {
            return others.first("POST", Vec::new(), missing()).await;
        };
        let replayed = replay_one(&state, flow, letter).await;
        replayed.map_err(|(status, message)| ApiError::from_engine(status, message))?;
        let answer = json!({"success": true, "total": 1, "replayed": 1, "failed": 0, "isRunning": false});
        return Ok(Json(answer).into_response());
    }
    let query = filters(&parameters)?;
    let counted = query.clone();
    let (last, (total, more)) = with_letters(&state, move |letters| {
        let last = letters.last_place()?;
        Ok((last, letters.count(&flow, &counted, Some(last.saturating_add(1)))?))
    })
    .await?;
    let replay = Arc::new(Progress { total: total.into(), ..Progress::default() });
    if !state.replays.begin(flow, &replay) {
        return Err(ApiError::new(
            Kind::Conflict,
            "the dead letters of the flow are being delivered again already",
        ));
    }
    let mut shown = replay.shown();
    // Each node delivers its own.
    let theirs = others.ask::<Value>("POST", Vec::new()).await;
    let all = theirs.bodies.iter().filter_map(|answer| answer["total"].as_u64()).sum::<u64>() + total;
    shown["total"] = json!(all);
    tokio::spawn(async move {
        let replayed = async {
            count_further(&state, flow, &query, more, &replay).await?;
            replay_all(&state, flow, &query, last, &replay).await
        };
        if let Err(error) = replayed.await {
            bounded_log!(error, %flow, error = error.text(), "dead letters cannot be read: their replay ends");
        }
        replay.is_over.store(true, Ordering::Relaxed);
    });
    Ok(Json(shown).into_response())
}

/// Delivers a letter again, and drops it.
async fn replay_one(
    state: &AdminState,
    flow: Id,
    (place, letter): (u64, WholeLetter),
) -> Result<(), (u16, String)> {
    state.engine.replay(letter.event).await?;
    let id = letter.letter.id;
    // It may be given up again already: that letter stays.
    let dropped = with_letters(state, move |letters| letters.remove_at(&flow, &id, place)).await;
    if let Err(error) = dropped {
        // It is delivered, and stands there still.
        bounded_log!(error, %flow, error = error.text(), "a dead letter that is delivered again cannot be dropped");
    }
    Ok(())
}

/// Counts the letters that the look at the begin did not reach.
async fn count_further(
    state: &AdminState,
    flow: Id,
    query: &LetterQuery,
    mut more: Option<u64>,
    replay: &Progress,
) -> Result<(), ApiError> {
    while more.is_some() {
        let query = query.clone();
        let counted = with_letters(state, move |letters| letters.count(&flow, &query, more)).await?;
        replay.total.fetch_add(counted.0, Ordering::Relaxed);
        more = counted.1;
    }
    Ok(())
}

/// Delivers the letters of a flow again that were there when it began, the oldest first.
async fn replay_all(
    state: &AdminState,
    flow: Id,
    query: &LetterQuery,
    last: u64,
    replay: &Progress,
) -> Result<(), ApiError> {
    let mut after = None;
    loop {
        let asked = query.clone();
        let found =
            with_letters(state, move |letters| letters.fitting(&flow, &asked, (after, last), LOOKED_UP));
        let found = found.await?;
        for (_, id) in found.ids {
            let letter = with_letters(state, move |letters| letters.find(&flow, &id)).await?;
            // It may have been dropped meanwhile, or kept anew.
            let Some(letter) = letter.filter(|(_, letter)| letter.fits(query)) else {
                continue;
            };
            let count =
                if replay_patiently(state, flow, letter).await { &replay.replayed } else { &replay.failed };
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        after = found.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Delivers a letter again, after pauses if there is no room for it.
async fn replay_patiently(state: &AdminState, flow: Id, letter: (u64, WholeLetter)) -> bool {
    for _ in 0..BUSY_TRIES_MAX {
        match replay_one(state, flow, letter.clone()).await {
            Ok(()) => return true,
            Err((503, _)) if state.engine.ready() => tokio::time::sleep(BUSY_PAUSE).await,
            Err(_) => return false,
        }
    }
    false
}
