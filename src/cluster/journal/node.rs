//! The journal of this node: its incarnation, its streams, and what the start before has left open.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::carrier::Carrier;
use super::replay::{AdoptionReplay, Heir, ReplayError, TakeoverShare};
use super::stream::JournalStreams;
use crate::base::clock::{Clock, NANOS_PER_SECOND};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::cluster::Adoptions;
use crate::cluster::connection::Connection;
use crate::engine::{BatchCarrier, RemoteKeeper};
use crate::settings::Settings;

/// File in the data folder that names the incarnations whose triggers may be open: one a line, the newest last.
const INCARNATIONS_FILE: &str = "cluster-incarnations";
/// Incarnations that are remembered: one that ended while NATS was down waits for the next.
const INCARNATIONS_MAX: usize = 64;
/// Bytes of the longest entry: what `max_payload` of NATS can sensibly be set to.
const ENTRY_BYTES_MAX: usize = 8 * 1024 * 1024 - 64 * 1024;
/// Pause before it is tried again to take over what the start before has left open.
const REPLAY_PAUSE: Duration = Duration::from_secs(2);

/// The journal of this node.
pub struct NodeJournal {
    connection: Arc<Connection>,
    streams: JournalStreams,
    carrier: Arc<Carrier>,
    /// This start of the process.
    incarnation: String,
    /// Those of earlier starts on this data folder, which have ended.
    earlier: Vec<String>,
    wait_nanos: u64,
}

impl NodeJournal {
    /// Starts the journal of a node whose data folder nobody else uses, under an incarnation (24 hex digits) that no other
    /// start has.
    ///
    /// # Errors
    /// If the data folder cannot be written.
    pub fn start(
        connection: Arc<Connection>,
        settings: &Settings,
        incarnation: &str,
        clock: Clock,
    ) -> io::Result<NodeJournal> {
        let cluster = &settings.cluster;
        let streams = JournalStreams {
            prefix: cluster.prefix().to_owned(),
            shards: cluster.shards,
            bytes_max: settings.journal.max_bytes,
            retention: Duration::from_secs(u64::from(settings.journal.retention_seconds)),
            replicas: cluster.replicas,
        };
        let (incarnation, earlier) = (incarnation.to_owned(), remember(&settings.data, incarnation)?);
        let carrier = Carrier::start(&connection, streams.clone(), &incarnation, settings.cores, clock);
        let wait_nanos = u64::from(cluster.ack_timeout) * NANOS_PER_SECOND;
        Ok(NodeJournal { connection, streams, carrier: Arc::new(carrier), incarnation, earlier, wait_nanos })
    }

    /// The keeper that the cores are started with.
    #[must_use]
    pub fn keeper(&self) -> RemoteKeeper {
        RemoteKeeper {
            carrier: Arc::clone(&self.carrier) as Arc<dyn BatchCarrier>,
            wait_nanos: self.wait_nanos,
            entry_bytes_max: ENTRY_BYTES_MAX,
        }
    }

    /// Name of this start of the process.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Those of earlier starts on this data folder, whose processes have ended.
    #[must_use]
    pub fn earlier(&self) -> &[String] {
        &self.earlier
    }

    /// Takes over incarnations that have ended.
    #[must_use]
    pub fn replay(&self, heir: Arc<dyn Heir>) -> AdoptionReplay {
        AdoptionReplay { jetstream: self.connection.jetstream.clone(), streams: self.streams.clone(), heir }
    }

    /// Takes over what earlier starts on this data folder have left open, in the background, again until it is done.
    pub fn resume(&self, heir: Arc<dyn Heir>, data: &Path, adoptions: Arc<Adoptions>) {
        let (replay, earlier) = (self.replay(heir), self.earlier.clone());
        let (data, incarnation) = (data.to_owned(), self.incarnation.clone());
        self.connection.spawn(async move {
            for ended in &earlier {
                let taken = resume_one(&replay, ended).await;
                adoptions.note(taken.triggers, taken.unreadable);
            }
            if let Err(error) = write(&data, &[incarnation]) {
                bounded_log!(warn, %error, "the list of this node's incarnations cannot be written");
            }
        });
    }
}

/// Takes over one incarnation.
async fn resume_one(replay: &AdoptionReplay, ended: &str) -> TakeoverShare {
    loop {
        match replay.run(ended).await {
            Ok(taken) => {
                let TakeoverShare { triggers, unreadable } = taken;
                if unreadable > 0 {
                    bounded_log!(error, incarnation = %ended, triggers, unreadable, "not all triggers of the journal are delivered again: this version cannot read some");
                } else if triggers > 0 {
                    bounded_log!(info, incarnation = %ended, triggers, "triggers of the journal are delivered again");
                }
                return taken;
            }
            Err(error @ ReplayError::Stream(_)) => {
                bounded_log!(warn, incarnation = %ended, %error, "the journal is not read: it is tried again");
                tokio::time::sleep(REPLAY_PAUSE).await;
            }
        }
    }
}

/// Adds an incarnation to the list; returns those before it.
fn remember(data: &Path, incarnation: &str) -> io::Result<Vec<String>> {
    let path = data.join(INCARNATIONS_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    // What is no id would be a part of a subject.
    let mut earlier: Vec<String> =
        text.lines().filter(|line| line.parse::<Id>().is_ok()).map(str::to_owned).collect();
    earlier.drain(..earlier.len().saturating_sub(INCARNATIONS_MAX));
    let mut all = earlier.clone();
    all.push(incarnation.to_owned());
    write(data, &all)?;
    Ok(earlier)
}

fn write(data: &Path, incarnations: &[String]) -> io::Result<()> {
    let path = data.join(INCARNATIONS_FILE);
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    for incarnation in incarnations {
        writeln!(file, "{incarnation}")?;
    }
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    crate::io::file::sync_folder_of(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_knows_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (0..3).map(|number| Id::from_raw([number; 12]).to_string()).collect();
        assert_eq!(remember(folder.path(), &ids[0]).unwrap(), Vec::<String>::new());
        fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(INCARNATIONS_FILE))
            .unwrap()
            .write_all(b"no.id\n")
            .unwrap();
        assert_eq!(remember(folder.path(), &ids[1]).unwrap(), ids[..1]);
        assert_eq!(remember(folder.path(), &ids[2]).unwrap(), ids[..2]);
        write(folder.path(), &ids[2..]).unwrap();
        assert_eq!(remember(folder.path(), "x").unwrap(), ids[2..]);
    }
}
