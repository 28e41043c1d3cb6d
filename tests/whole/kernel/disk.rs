//! A simulated disk: files that outlive the processes of a simulation, with writes that fail, are late, torn by a power
//! cut, or lost by it unless they were safe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use tidegate::io::Safety;

use super::state::Random;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk. Clones share it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

/// What goes wrong on a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write fails, one time in this many. 0: never.
    pub write_fails_one_in: usize,
    /// A write or a read takes up to this many nanoseconds, mostly much less.
    pub delay_max: u64,
    /// Every write fails.
    pub is_broken: bool,
    /// No file can be made.
    pub is_full: bool,
    /// A write is said to be safe and is not, one time in this many, and so is what is synced. 0: never.
    pub lies_one_in: usize,
}

/// An open file.
#[derive(Clone, Debug)]
pub struct SimFile {
    pub(super) name: String,
    pub(super) safety: Safety,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Writes that have not ended: an end of the process or of the power catches them.
    in_flight: BTreeMap<u64, Write>,
    writes: u64,
    faults: Faults,
    /// Something is not safe that was said to be.
    has_lied: bool,
    /// Operations that were begun or have ended; after the last of them nothing reaches the disk any more.
    operations: u64,
    last_operation: Option<u64>,
}

#[derive(Default)]
struct File {
    /// As the process sees it.
    bytes: Vec<u8>,
    /// As it is when the power fails.
    safe: Vec<u8>,
}

struct Write {
    file: SimFile,
    offset: usize,
    bytes: Vec<u8>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread at a time")
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub fn faults(&self) -> Faults {
        self.state().faults
    }

    /// Makes a file, safe at once; `false` if there is no room.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> bool {
        let state = &mut *self.state();
        if state.faults.is_full || state.faults.is_broken {
            return false;
        }
        state.files.insert(name.to_owned(), File { safe: bytes.clone(), bytes });
        true
    }

    pub fn open(&self, name: &str, safety: Safety) -> Option<SimFile> {
        self.state().files.contains_key(name).then(|| SimFile { name: name.to_owned(), safety })
    }

    pub fn remove(&self, name: &str) {
        self.state().files.remove(name);
    }

    pub fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).map(|file| file.bytes.clone())
    }

    /// Makes what a process sees of a file safe.
    pub fn sync(&self, name: &str) {
        let state = &mut *self.state();
        let Some(file) = state.files.get_mut(name) else { return };
        if state.faults.lies_one_in > 0 {
            state.has_lied |= file.safe != file.bytes;
        } else {
            file.safe.clone_from(&file.bytes);
        }
    }

    /// Has the process end after so many more operations: nothing that follows reaches the disk.
    pub fn end_after(&self, operations: u64) {
        let state = &mut *self.state();
        state.last_operation = Some(state.operations + operations);
    }

    /// Whether the last operation of the process is over.
    pub fn is_at_end(&self) -> bool {
        let state = self.state();
        state.last_operation.is_some_and(|last| state.operations >= last)
    }

    /// Damages one bit of a file.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        let state = &mut *self.state();
        let Some(file) = state.files.get_mut(name) else { return };
        for bytes in [&mut file.bytes, &mut file.safe] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Time that the next transfer takes.
    pub(super) fn delay(&self, random: &mut Random) -> u64 {
        let most = self.state().faults.delay_max;
        let bound = if random.one_in(16) { most } else { most / 64 };
        random.below(bound as usize + 1) as u64
    }

    pub(super) fn begin_write(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> u64 {
        let state = &mut *self.state();
        state.writes += 1;
        if !state.count_operation() {
            return state.writes;
        }
        let write = Write { file: file.clone(), offset: offset as usize, bytes: bytes.to_vec() };
        state.in_flight.insert(state.writes, write);
        state.writes
    }

    /// Ends a write: all of it is done, or any part of it and it has failed.
    pub(super) fn end_write(&self, number: u64, random: &mut Random) -> Result<(), Errno> {
        let state = &mut *self.state();
        if !state.count_operation() {
            return Err(Errno::IO);
        }
        let Some(write) = state.in_flight.remove(&number) else { return Err(Errno::IO) };
        let faults = state.faults;
        let fails =
            faults.is_broken || faults.write_fails_one_in > 0 && random.one_in(faults.write_fails_one_in);
        let Some(file) = state.files.get_mut(&write.file.name) else { return Err(Errno::BADF) };
        if write.offset + write.bytes.len() > file.bytes.len() {
            return Err(Errno::NOSPC);
        }
        if fails {
            file.tear(&write, random);
            return Err(Errno::IO);
        }
        let range = write.offset..write.offset + write.bytes.len();
        file.bytes[range.clone()].copy_from_slice(&write.bytes);
        if write.file.safety == Safety::Disk && faults.lies_one_in > 0 && random.one_in(faults.lies_one_in) {
            state.has_lied = true;
        } else if write.file.safety == Safety::Disk {
            file.safe[range].copy_from_slice(&write.bytes);
        }
        Ok(())
    }

    pub(super) fn read(&self, file: &SimFile, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let state = self.state();
        let file = state.files.get(&file.name).ok_or(Errno::BADF)?;
        let bytes = file.bytes.get(offset as usize..offset as usize + into.len()).ok_or(Errno::IO)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    /// The process ends: writes in flight are done or not.
    pub fn kill(&self, random: &mut Random) {
        let state = &mut *self.state();
        state.last_operation = None;
        for write in std::mem::take(&mut state.in_flight).into_values() {
            if random.one_in(2)
                && let Some(file) = state.files.get_mut(&write.file.name)
                && let Some(bytes) = file.bytes.get_mut(write.offset..write.offset + write.bytes.len())
            {
                bytes.copy_from_slice(&write.bytes);
            }
        }
    }

    /// The power fails: writes in flight are torn, and what was not safe is there or not, sector by sector. Returns whether
    /// the disk had lied.
    pub fn cut_power(&self, random: &mut Random) -> bool {
        let state = &mut *self.state();
        state.last_operation = None;
        for write in std::mem::take(&mut state.in_flight).into_values() {
            if let Some(file) = state.files.get_mut(&write.file.name) {
                file.tear(&write, random);
            }
        }
        for file in state.files.values_mut() {
            let sectors = file.safe.chunks_mut(SECTOR_BYTES).zip(file.bytes.chunks(SECTOR_BYTES));
            for (safe, written) in sectors {
                if safe != written && random.one_in(2) {
                    safe.copy_from_slice(written);
                }
            }
            file.bytes.clone_from(&file.safe);
        }
        std::mem::take(&mut state.has_lied)
    }
}

impl State {
    /// Counts an operation; `false` if the process has ended before it.
    fn count_operation(&mut self) -> bool {
        if self.last_operation.is_some_and(|last| self.operations >= last) {
            return false;
        }
        self.operations += 1;
        true
    }
}

impl File {
    /// Does any of the sectors of a write; as the process sees it, and for some of them safe.
    fn tear(&mut self, write: &Write, random: &mut Random) {
        for (at, sector) in write.bytes.chunks(SECTOR_BYTES).enumerate() {
            let start = write.offset + at * SECTOR_BYTES;
            let range = start..start + sector.len();
            if range.end > self.bytes.len() || random.one_in(2) {
                continue;
            }
            self.bytes[range.clone()].copy_from_slice(sector);
            if random.one_in(2) {
                self.safe[range].copy_from_slice(sector);
            }
        }
    }
}
