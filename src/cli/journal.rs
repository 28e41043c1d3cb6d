//! `tidegate journal list|verify|show`: reads the journal of a data folder that no server has open. Nothing is written.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use super::options::{self, Format};
use super::{CommandError, given, output};
use crate::deliver::entry::{StoredDelivery, StoredEntry};
use crate::journal::segment::{HeaderState, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::journal::{
    Found, JOURNAL_FOLDER, MANIFEST_FILE, Manifest, Recovered, RecoveredEntry, Recovery, SegmentFile,
    SegmentName, Sequence, records,
};
use crate::model::time_text;
use crate::store::LOCK_FILE;

/// Bytes of the list of segments that are read: of many more than can be served with.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// `tidegate journal`.
pub(super) fn command() -> Command {
    Command::new("journal")
        .about("Read the journal of a data folder while no server runs on it")
        .subcommand_required(true)
        .args([options::server(), options::ca()].map(|arg| arg.global(true).hide(true)))
        .arg(options::output().global(true))
        .subcommand(Command::new("list").about("The open entries: accepted, and not delivered to the end"))
        .subcommand(
            Command::new("verify")
                .about("Read every record; fails if any is damaged, and says in which file and where"),
        )
        .subcommand(
            Command::new("show").about("An entry as JSON, with its payload").arg(
                Arg::new("sequence").required(true).value_name("SEQUENCE").help("As list shows it: 0-4711"),
            ),
        )
}

/// Runs it.
///
/// # Errors
/// A server that runs on the folder; a journal that cannot be read, or is damaged where it is verified.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let (settings, _) = given::settings(matches)?;
    let _lock = lock(&settings.data)?;
    let folder = JournalFolder::open(settings.data.join(JOURNAL_FOLDER))?;
    match matches.subcommand() {
        Some(("list", matches)) => list(&folder, options::format(matches, Format::Table)),
        Some(("verify", matches)) => verify(&folder, options::format(matches, Format::Table)),
        Some(("show", matches)) => {
            let word = matches.get_one::<String>("sequence").map_or("", String::as_str);
            let sequence = word.parse().map_err(|must| CommandError::Usage(format!("SEQUENCE {must}")))?;
            show(&folder, sequence, options::format(matches, Format::Json))
        }
        _ => Err(CommandError::Usage("list, verify or show".to_owned())),
    }
}

/// Holds the folder's lock, as far as there is one, so that no server starts meanwhile.
fn lock(data: &Path) -> Result<Option<File>, CommandError> {
    let Ok(lock) = File::open(data.join(LOCK_FILE)) else { return Ok(None) };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(lock)),
        Err(_) => Err(CommandError::Failed(anyhow::anyhow!(
            "a server runs on {}: its journal can be read once it has ended",
            data.display()
        ))),
    }
}

/// The number of open entries in the journal of a data folder, which the caller has to itself; none if there is no journal.
pub(super) fn open_entries(data: &Path) -> anyhow::Result<usize> {
    let folder = data.join(JOURNAL_FOLDER);
    if !folder.exists() {
        return Ok(0);
    }
    let recovered = JournalFolder::open(folder)?.recover()?;
    Ok(recovered.shares.iter().map(|share| share.open.len()).sum())
}

/// The files of a journal.
struct JournalFolder {
    path: PathBuf,
    manifest: Option<Manifest>,
    files: Vec<SegmentFile>,
}

impl JournalFolder {
    fn open(path: PathBuf) -> anyhow::Result<JournalFolder> {
        let mut files = Vec::new();
        let found = fs::read_dir(&path).with_context(|| format!("no journal in {}", path.display()))?;
        for file in found {
            let file = file.with_context(|| format!("{} cannot be read", path.display()))?;
            let Some(name) = file.file_name().to_str().and_then(SegmentName::of_file) else { continue };
            let mut header = Vec::new();
            File::open(file.path())
                .and_then(|file| file.take(SEGMENT_HEADER_BYTES as u64).read_to_end(&mut header))
                .with_context(|| format!("{} cannot be read", file.path().display()))?;
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            files.push(SegmentFile { name, bytes, header });
        }
        files.sort_by_key(|file| file.name);
        let manifest = read_manifest(&path.join(MANIFEST_FILE))?;
        Ok(JournalFolder { path, manifest, files })
    }

    fn segment(&self, name: SegmentName) -> anyhow::Result<Vec<u8>> {
        let path = self.path.join(name.file_name());
        fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    }

    /// All of it.
    fn recover(&self) -> anyhow::Result<Recovered> {
        // No segment is handed out here: their size and the salt are of no use.
        let recovery = Recovery::new(self.manifest.as_ref(), &self.files, 0, 0);
        let mut recovery = recovery.with_context(|| self.path.display().to_string())?;
        while let Some(name) = recovery.next() {
            recovery.scan(&self.segment(name)?);
        }
        Ok(recovery.finish(1))
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<Option<Manifest>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            let read = file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text);
            read.with_context(|| format!("{} cannot be read", path.display()))?;
            Ok(Some(text.parse().with_context(|| path.display().to_string())?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn list(folder: &JournalFolder, format: Format) -> Result<(), CommandError> {
    let recovered = folder.recover()?;
    let entries =
        recovered.shares.iter().flat_map(|share| share.open.iter().map(|entry| (entry, share.place(entry))));
    let mut rows = Vec::new();
    let mut items = Vec::new();
    for (entry, (segment, offset)) in entries {
        let accepted = time_text(entry.unix_millis);
        if format != Format::Table {
            items.push(json!({
                "sequence": entry.sequence.to_string(), "accepted": accepted, "open": entry.open_deliveries(),
                "deliveries": entry.deliveries(), "bytes": entry.record_bytes(),
                "segment": segment.file_name(), "offset": offset,
            }));
            continue;
        }
        rows.push(vec![
            entry.sequence.to_string(),
            accepted,
            open_of(entry),
            entry.record_bytes().to_string(),
            format!("{} {offset}", segment.file_name()),
        ]);
    }
    let printed = match format {
        Format::Json | Format::Yaml => output::print_as(&Value::Array(items).to_string(), format),
        Format::Table => {
            output::print(&output::table(&["SEQUENCE", "ACCEPTED", "OPEN", "BYTES", "PLACE"], &rows))
        }
    };
    printed?;
    if recovered.fault_count > 0 {
        let message =
            format!("{} places are damaged: `tidegate journal verify` tells which", recovered.fault_count);
        output::complain(&message);
    }
    Ok(())
}

fn open_of(entry: &RecoveredEntry) -> String {
    format!("{} of {}", entry.open_deliveries(), entry.deliveries())
}

fn verify(folder: &JournalFolder, format: Format) -> Result<(), CommandError> {
    let recovered = folder.recover()?;
    let mut rows = Vec::new();
    let mut items = Vec::new();
    for file in &folder.files {
        let torn = recovered.torn.iter().find(|(name, _)| *name == file.name);
        let (state, uses) = match SegmentHeader::read(&file.header) {
            HeaderState::New => ("unused", 0),
            HeaderState::Damaged => ("damaged", 0),
            HeaderState::Used(_) if recovered.faults.iter().any(|fault| fault.segment == file.name) => {
                ("damaged", 0)
            }
            HeaderState::Used(header) if torn.is_some() => ("torn", header.use_number),
            HeaderState::Used(header) => ("whole", header.use_number),
        };
        if format != Format::Table {
            items.push(
                json!({"file": file.name.file_name(), "bytes": file.bytes, "uses": uses, "state": state}),
            );
        } else {
            rows.push(vec![
                file.name.file_name(),
                file.bytes.to_string(),
                uses.to_string(),
                state.to_owned(),
            ]);
        }
    }
    let open: usize = recovered.shares.iter().map(|share| share.open.len()).sum();
    let faults: Vec<String> = recovered.faults.iter().map(ToString::to_string).collect();
    if format != Format::Table {
        let report = json!({
            "segments": items, "records": recovered.records, "open": open, "faults": faults,
            "faultCount": recovered.fault_count,
        });
        output::print_as(&report.to_string(), format)?;
    } else {
        let mut text = output::table(&["FILE", "BYTES", "USES", "STATE"], &rows);
        text += &format!("{} records, {open} entries open\n", recovered.records);
        faults.iter().for_each(|fault| text += &format!("{fault}\n"));
        output::print(&text)?;
    }
    match recovered.fault_count {
        0 => Ok(()),
        count => Err(CommandError::Failed(anyhow::anyhow!("{count} places of the journal are damaged"))),
    }
}

fn show(folder: &JournalFolder, sequence: Sequence, format: Format) -> Result<(), CommandError> {
    for file in &folder.files {
        let HeaderState::Used(_) = SegmentHeader::read(&file.header) else { continue };
        let bytes = folder.segment(file.name)?;
        let found = records(&bytes).find_map(|(offset, found)| match found {
            Found::Record(header, payload)
                if header.sequence == sequence && header.record_type.is_entry() =>
            {
                Some((offset, header, header.entry_payload(payload)))
            }
            _ => None,
        });
        let Some((offset, header, payload)) = found else { continue };
        let mut shown = json!({
            "sequence": sequence.to_string(), "accepted": time_text(header.unix_millis),
            "file": file.name.file_name(), "offset": offset,
        });
        return Ok(output::print_as(&entry_text(&mut shown, payload), format)?);
    }
    Err(CommandError::Failed(anyhow::anyhow!("there is no entry {sequence} in {}", folder.path.display())))
}

/// An entry as JSON: its deliveries, and the payload of the first one as its node gets it, with all its digits.
fn entry_text(shown: &mut Value, payload: &[u8]) -> String {
    let Some(entry) = StoredEntry::read(payload) else {
        shown["unreadable"] = Value::from(String::from_utf8_lossy(payload).into_owned());
        return shown.to_string();
    };
    shown["webhookId"] = Value::from(entry.webhook.to_string());
    let delivery = |of: &StoredDelivery| json!({"flowId": of.flow.to_string(), "nodeId": &*of.node_id});
    shown["deliveries"] = entry.deliveries.iter().map(delivery).collect();
    let mut text = shown.to_string();
    if let Some(first) = entry.deliveries.first() {
        let mut payload = Vec::new();
        entry.payload(first).write(&mut payload);
        text.pop();
        text.push_str(",\"payload\":");
        text.push_str(&String::from_utf8_lossy(&payload));
        text.push('}');
    }
    text
}
