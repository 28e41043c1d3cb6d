//! Keeps the dead letters of the cores: a thread that writes those that arrive together in one transaction.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::engine::{DeadLetter, DeadLetters, LetterReport};
use crate::store::letters::{Letter, Letters, WholeLetter};

/// Letters that wait for the thread. Those for which there is no room are offered again after a second.
const WAITING_MAX: usize = 1_024;
/// Letters of one transaction.
const LETTERS_PER_COMMIT_MAX: usize = 1_024;
/// Bytes of payloads of one transaction, but for its last letter.
const BYTES_PER_COMMIT_MAX: usize = 16 * 1024 * 1024;
/// Time after which letters that are too old are looked for although none arrives.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

type Offer = (Arc<DeadLetter>, LetterReport);

/// Keeps dead letters in the data folder.
pub(crate) struct KeptDeadLetters {
    sender: SyncSender<Offer>,
}

impl KeptDeadLetters {
    /// Starts the thread, which ends with the last sender.
    ///
    /// # Errors
    /// If there is no thread.
    pub(crate) fn start(letters: Arc<Letters>, clock: Clock) -> io::Result<KeptDeadLetters> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("dead-letters".to_owned())
            .spawn(move || run(&receiver, &letters, clock))?;
        Ok(KeptDeadLetters { sender })
    }
}

impl DeadLetters for KeptDeadLetters {
    fn keep(&self, letter: Arc<DeadLetter>, report: LetterReport) {
        if let Err(error) = self.sender.try_send((letter, report)) {
            let (std::sync::mpsc::TrySendError::Full((_, report))
            | std::sync::mpsc::TrySendError::Disconnected((_, report))) = error;
            // A core that is too busy to hear of it offers the letter again.
            report.report(false);
        }
    }
}

fn run(receiver: &Receiver<Offer>, letters: &Letters, clock: Clock) {
    loop {
        let mut offers = Vec::new();
        match receiver.recv_timeout(SWEEP_INTERVAL) {
            Ok(offer) => offers.push(offer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let mut bytes = 0;
        let mut batch: Vec<(Id, WholeLetter)> = Vec::new();
        if let Some((letter, _)) = offers.first() {
            batch.push((letter.flow, whole(letter)));
        }
        while !batch.is_empty() && batch.len() < LETTERS_PER_COMMIT_MAX && bytes < BYTES_PER_COMMIT_MAX {
            let Ok(offer) = receiver.try_recv() else { break };
            let letter = whole(&offer.0);
            bytes += letter.payload.len() + letter.event.len();
            batch.push((offer.0.flow, letter));
            offers.push(offer);
        }
        let now = clock.now().unix_millis;
        let kept = letters.keep(batch.iter().map(|(flow, letter)| (*flow, letter)), now);
        if let Err(error) = &kept {
            let letters = batch.len();
            bounded_log!(error, %error, letters, "dead letters cannot be kept: they are tried again");
        }
        for (_, report) in offers {
            report.report(kept.is_ok());
        }
    }
}

/// A letter as it is stored.
fn whole(letter: &DeadLetter) -> WholeLetter {
    let mut payload = Vec::with_capacity(letter.payload.len());
    letter.payload.write(&mut payload);
    let last = letter.last.as_ref();
    let answer = last.filter(|last| !last.answer.is_empty());
    WholeLetter {
        letter: Letter {
            id: letter.id.to_string(),
            webhook: letter.webhook.to_string(),
            node: letter.node.to_string(),
            reason: letter.reason.name().to_owned(),
            attempts: letter.attempts,
            accepted_unix_millis: letter.accepted_unix_millis,
            died_unix_millis: letter.died_unix_millis,
            status: last.and_then(|last| last.status),
            error: last.map(|last| last.error.clone()),
            answer: answer.map(|last| String::from_utf8_lossy(&last.answer).into_owned()),
        },
        payload,
        event: letter.stored(),
    }
}
