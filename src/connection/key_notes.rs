//! The keys of calls (`deduplicate`) as notes of the journal, so that they outlive the process.
//!
//! | bytes of a note's subject | field |
//! | --- | --- |
//! | 12 | webhook |
//! | 4 | mark of the template that the key was rendered from |
//! | 16 | key |

use super::context::CoreState;
use crate::base::id::Id;
use crate::journal::{Note, SUBJECT_BYTES};
use crate::limit::{CallKey, Claim, KEY_BYTES, TakenKey};
use crate::registry::{Deduplicate, Hook, Registry, TemplateMark};

const ID_BYTES: usize = 12;
const MARK_BYTES: usize = 4;
const _: () = assert!(ID_BYTES + MARK_BYTES + KEY_BYTES == SUBJECT_BYTES);

const MILLIS_PER_SECOND: u64 = 1_000;

/// The note of a key that a call of a webhook has claimed.
pub(super) fn note(hook: &Hook, deduplicate: &Deduplicate, claim: &Claim) -> Note {
    let TakenKey { key, unix_millis } = claim.taken();
    let mut subject = [0; SUBJECT_BYTES];
    let (id, rest) = subject.split_at_mut(ID_BYTES);
    let (mark, of_key) = rest.split_at_mut(MARK_BYTES);
    id.copy_from_slice(hook.webhook_id.raw());
    mark.copy_from_slice(&deduplicate.mark.0);
    of_key.copy_from_slice(key.raw());
    let seconds = u32::try_from(deduplicate.window_millis / MILLIS_PER_SECOND).unwrap_or(u32::MAX);
    Note { subject, unix_millis, seconds }
}

/// The key of a note, with its webhook.
fn key(note: &Note) -> (Id, TemplateMark, TakenKey) {
    let (mut id, mut mark, mut key) = ([0; ID_BYTES], [0; MARK_BYTES], [0; KEY_BYTES]);
    let (of_id, rest) = note.subject.split_at(ID_BYTES);
    let (of_mark, of_key) = rest.split_at(MARK_BYTES);
    id.copy_from_slice(of_id);
    mark.copy_from_slice(of_mark);
    key.copy_from_slice(of_key);
    let taken = TakenKey { key: CallKey::from_raw(key), unix_millis: note.unix_millis };
    (Id::from_raw(id), TemplateMark(mark), taken)
}

/// Calls a function with the keys that a note is about, if its webhook renders such keys still.
fn with_keys<R>(
    registry: &Registry,
    note: &Note,
    run: impl FnOnce(&Deduplicate, TakenKey) -> R,
) -> Option<R> {
    let (webhook, mark, taken) = key(note);
    let hook = registry.by_id(webhook)?;
    let deduplicate = hook.deduplicate().filter(|deduplicate| deduplicate.mark == mark)?;
    Some(run(deduplicate, taken))
}

/// Takes over the keys of an earlier process whose windows are not over.
pub(crate) fn restore<'n>(registry: &Registry, notes: impl Iterator<Item = &'n Note>, unix_millis: u64) {
    let mut notes: Vec<&Note> = notes.filter(|note| !note.is_over(unix_millis)).collect();
    // Of too many the oldest make room.
    notes.sort_unstable_by_key(|note| (note.unix_millis, note.subject));
    notes.dedup();
    for note in notes {
        // Those of webhooks that are gone are reviewed away.
        with_keys(registry, note, |deduplicate, taken| deduplicate.keys.restore(taken));
    }
}

/// Continues to forget the notes of keys that are not remembered any more.
pub(crate) fn review(core: &mut CoreState) {
    let unix_millis = core.now().unix_millis;
    let CoreState { journal, registry, .. } = core;
    let Some(journal) = journal.as_mut().and_then(|journal| journal.journal.files()) else { return };
    if journal.is_review_due() {
        journal.review_notes(unix_millis, |note| {
            with_keys(registry, note, |deduplicate, taken| deduplicate.keys.holds(taken)).unwrap_or(false)
        });
    }
}
