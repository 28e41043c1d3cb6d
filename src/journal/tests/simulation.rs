//! Cores with their journals on a disk that fails, from a seed: what was told durable is recovered unless it is done, and
//! nothing else ever appears.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::moving::UNMOVED_SEGMENTS;
use super::super::{
    Config, EntryKind, Journal, NoSegment, NotRead, Read, ReadError, Recovered, Recovery, Refused,
    ReleasedSegment, Sequence, SpareSegment, Write, WriteError,
};
use super::disk::{Disk, Random};
use super::noted::Noted;
use crate::base::clock::Now;

const SEGMENT_BYTES: u32 = 64 * 1024;
const SEGMENTS_PER_CORE: usize = 8;
const STEPS: usize = 400;
const RUNS: usize = 6;

/// The faults of a seed's disk.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// One write in so many fails; 0: none.
    failing_write: usize,
    /// A failed write leaves sectors that are neither old nor new.
    destroys: bool,
    /// One read in so many fails; 0: none.
    failing_read: usize,
    /// Segments cannot be had for a while.
    failing_supply: bool,
}

/// The expected state of an entry.
#[derive(Clone, Debug)]
struct Fate {
    /// The core that keeps it in this run.
    keeper: usize,
    payload: Vec<u8>,
    deliveries: u16,
    done: BTreeSet<u16>,
    /// Its caller was answered: it is durable.
    is_promised: bool,
    is_refused: bool,
    /// The completions of all deliveries are durable.
    is_confirmed_done: bool,
    /// It stands where a failed write has destroyed sectors, and no write has ended well since.
    is_at_risk: bool,
}

impl Fate {
    fn is_done(&self) -> bool {
        self.done.len() == usize::from(self.deliveries)
    }
}

struct Core {
    journal: Journal,
    write: Option<Write>,
    /// Entries whose completions are durable when the write in flight has ended.
    confirms: Vec<Sequence>,
    read: Option<Read>,
    /// Entries that are offered to workers: durable, and open here.
    open: VecDeque<Sequence>,
}

struct World {
    random: Random,
    faults: Faults,
    disk: Disk,
    cores: Vec<Core>,
    pool: Vec<SpareSegment>,
    segments_max: usize,
    fates: BTreeMap<Sequence, Fate>,
    noted: Noted,
    /// Every sequence that was ever given.
    used: BTreeSet<Sequence>,
    nanos: u64,
    had_failed_write: bool,
    supply_fails: bool,
    seen: Seen,
}

/// Counts of the events in a run of seeds, so that a test can tell that it tests something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    promised: usize,
    recovered: usize,
    refused_full: usize,
    refused_down: usize,
    failed: usize,
    moved: u64,
    reused: u32,
    read_back: usize,
    partly_done: usize,
    noted: usize,
}

impl World {
    fn new(seed: u64, faults: Faults) -> World {
        let mut world = World {
            random: Random::new(seed),
            faults,
            disk: Disk::new(),
            cores: Vec::new(),
            pool: Vec::new(),
            segments_max: 3 * SEGMENTS_PER_CORE,
            fates: BTreeMap::new(),
            noted: Noted::default(),
            used: BTreeSet::new(),
            nanos: 0,
            had_failed_write: false,
            supply_fails: false,
            seen: Seen::default(),
        };
        world.start();
        world
    }

    fn now(&self) -> Now {
        Now { nanos: self.nanos, unix_millis: 1_700_000_000_000 + self.nanos / 1_000_000 }
    }

    /// Reads the folder back with any number of cores, and compares.
    fn start(&mut self) {
        let cores = 1 + self.random.below(3);
        let recovered = recover(&self.disk, cores, self.random.next());
        let is_damaged = self.faults.destroys && self.had_failed_write;
        assert!(is_damaged || recovered.faults.is_empty(), "{:?}", recovered.faults);
        let mut found = BTreeSet::new();
        let shares = recovered.shares.iter().enumerate();
        for (core, entry) in
            shares.flat_map(|(core, share)| share.open.iter().map(move |entry| (core, entry)))
        {
            let sequence = entry.sequence;
            assert!(found.insert(sequence), "{sequence} twice");
            let fate = self.fates.get_mut(&sequence).expect("was appended");
            assert!(!fate.is_confirmed_done || self.had_failed_write, "{sequence} was done");
            for delivery in (0..fate.deliveries).filter(|delivery| entry.is_done(*delivery)) {
                assert!(fate.done.contains(&delivery), "{sequence}: delivery {delivery} was not done");
                self.seen.partly_done += 1;
            }
            // It is delivered again, also what was refused or done.
            fate.done = (0..fate.deliveries).filter(|delivery| entry.is_done(*delivery)).collect();
            fate.keeper = core;
            fate.is_promised = true;
            fate.is_confirmed_done = false;
            fate.is_at_risk = false;
        }
        for (sequence, fate) in &self.fates {
            let must_be_there = fate.is_promised && !fate.is_done() && !fate.is_at_risk;
            assert!(!must_be_there || found.contains(sequence), "{sequence} is lost: {fate:?}");
        }
        self.fates.retain(|sequence, fate| found.contains(sequence) || fate.is_done());
        self.seen.recovered += found.len();
        recovered.update(&mut self.disk.manifest);
        for name in recovered.leftover {
            self.disk.delete(name);
        }
        self.pool = recovered.spare;
        self.supply_fails = false;
        self.cores.clear();
        for (core, share) in recovered.shares.into_iter().enumerate() {
            let config =
                Config { core: core as u16, folder: self.disk.manifest.folder, segment_bytes: SEGMENT_BYTES };
            let open = share.open.iter().map(|entry| entry.sequence).collect();
            let journal = Journal::new(config, share);
            self.cores.push(Core { journal, write: None, confirms: Vec::new(), read: None, open });
        }
        let cores = self.cores.iter().enumerate();
        let notes = cores.flat_map(|(core, state)| state.journal.notes().map(move |note| (core, *note)));
        self.noted.on_start(&notes.collect::<Vec<_>>(), self.now().unix_millis);
        for core in 0..self.cores.len() {
            self.supply(core);
        }
    }

    fn supply(&mut self, core: usize) {
        let wanted = self.cores[core].journal.segments_wanted(self.nanos);
        for _ in 0..wanted {
            if self.supply_fails {
                self.cores[core].journal.segment_refused(NoSegment::Failed, self.nanos);
                return;
            }
            let spare = match self.pool.pop() {
                Some(spare) => spare,
                None if self.disk.files.len() < self.segments_max => SpareSegment {
                    name: self.disk.make(core as u16, SEGMENT_BYTES),
                    bytes: SEGMENT_BYTES,
                    uses: 0,
                    salt: self.random.next(),
                },
                None => {
                    self.cores[core].journal.segment_refused(NoSegment::Full, self.nanos);
                    return;
                }
            };
            self.seen.reused = self.seen.reused.max(spare.uses);
            self.cores[core].journal.add_segment(spare);
        }
    }

    fn take_released(&mut self, core: usize) {
        while let Some(released) = self.cores[core].journal.released() {
            match released {
                ReleasedSegment::Spare(spare) => self.pool.push(spare),
                ReleasedSegment::Discard(name) => self.disk.delete(name),
            }
        }
    }

    fn append(&mut self, core: usize) {
        let bytes = match self.random.below(20) {
            0 => self.random.below(20_000),
            1..=4 => self.random.below(4_000),
            _ => self.random.below(500),
        };
        let filler = self.random.next() as u8;
        let payload: Vec<u8> = (0..bytes).map(|at| filler.wrapping_add(at as u8)).collect();
        let deliveries = if self.random.one_in(4) { 1 + self.random.below(70) as u16 } else { 1 };
        let (head, tail) = payload.split_at(self.random.below(bytes + 1));
        let now = self.now();
        let note = self.random.one_in(3).then(|| self.noted.make(now.unix_millis, &mut self.random));
        let (kind, parts, journal) = (EntryKind(filler), [head, tail], &mut self.cores[core].journal);
        match journal.append_noted(kind, deliveries, note.as_ref(), &parts, now) {
            Ok(sequence) => {
                if let Some(note) = note {
                    self.noted.on_appended(note, sequence, core);
                }
                let fate = Fate {
                    keeper: core,
                    payload,
                    deliveries,
                    done: BTreeSet::new(),
                    is_promised: false,
                    is_refused: false,
                    is_confirmed_done: false,
                    is_at_risk: false,
                };
                assert!(self.used.insert(sequence), "{sequence} is used twice");
                self.fates.insert(sequence, fate);
                self.cores[core].open.push_back(sequence);
            }
            Err(Refused::Full) => self.seen.refused_full += 1,
            Err(Refused::Down) => self.seen.refused_down += 1,
            Err(Refused::Busy) => {}
            Err(Refused::TooLarge) => panic!("{bytes} bytes fit a segment"),
        }
    }

    fn append_note(&mut self, core: usize) {
        let note = self.noted.make(self.now().unix_millis, &mut self.random);
        if let Ok(sequence) = self.cores[core].journal.append_note(&note) {
            assert!(self.used.insert(sequence), "{sequence} is used twice");
            self.noted.on_appended(note, sequence, core);
        }
    }

    fn review_notes(&mut self, core: usize) {
        let now = self.now().unix_millis;
        self.cores[core].journal.review_notes(now, |note| self.noted.is_needed(note));
        self.take_released(core);
    }

    fn complete(&mut self, core: usize) {
        let state = &mut self.cores[core];
        let durable = state.journal.durable();
        let place = match self.random.one_in(3) {
            true => self.random.below(state.open.len().max(1)),
            false => 0,
        };
        let Some(&sequence) = state.open.get(place) else { return };
        if !self.fates[&sequence].is_promised {
            assert!(sequence > durable, "{sequence} is durable and was not told so");
            return;
        }
        let fate = self.fates.get_mut(&sequence).expect("is known");
        let delivery = self.random.below(usize::from(fate.deliveries)) as u16;
        let was_open = fate.done.insert(delivery);
        let is_last = if self.random.one_in(8) {
            fate.done.extend(0..fate.deliveries);
            state.journal.complete_entry(sequence, self.nanos)
        } else {
            state.journal.complete(sequence, delivery, self.nanos)
        };
        assert_eq!(is_last, fate.is_done() && (was_open || is_last));
        if fate.is_done() {
            state.open.remove(place);
        }
    }

    fn begin_write(&mut self, core: usize) {
        let state = &mut self.cores[core];
        let Some(write) = state.journal.next_write(self.nanos) else { return };
        assert!(state.write.is_none(), "one write is in flight at a time");
        if state.journal.completions.is_empty() {
            let done = self.fates.iter().filter(|(_, fate)| fate.keeper == core && fate.is_done());
            state.confirms = done.map(|(sequence, _)| *sequence).collect();
        }
        state.write = Some(write);
    }

    fn end_write(&mut self, core: usize) {
        let Some(write) = self.cores[core].write.take() else { return };
        let fails = self.faults.failing_write > 0 && self.random.one_in(self.faults.failing_write);
        if fails {
            self.had_failed_write = true;
            if self.faults.destroys {
                self.note_risk(core, &write);
            }
            self.disk.fail(&write, self.faults.destroys, &mut self.random);
        } else {
            self.disk.write(&write);
        }
        let state = &mut self.cores[core];
        state.journal.on_written(write, if fails { Err(WriteError) } else { Ok(()) }, self.nanos);
        if let Some(failed) = state.journal.failed() {
            self.noted.on_failed(&failed);
            for (_, fate) in self.fates.range_mut(failed.clone()) {
                assert!(!fate.is_promised, "{failed:?} had been promised");
                fate.is_refused = true;
                // Once the journal has settled it is revoked.
                fate.done.extend(0..fate.deliveries);
                self.seen.failed += 1;
            }
            state.open.retain(|sequence| !failed.contains(sequence));
        }
        let durable = state.journal.durable();
        let is_settled = !fails && state.journal.carried == 0;
        self.noted.on_written(core, durable, fails && self.faults.destroys, is_settled);
        for sequence in &state.open {
            let fate = self.fates.get_mut(sequence).expect("is known");
            if !fate.is_promised && *sequence <= durable {
                assert!(!fate.is_refused);
                fate.is_promised = true;
                self.seen.promised += 1;
            }
        }
        if !fails {
            for sequence in std::mem::take(&mut state.confirms) {
                self.fates.get_mut(&sequence).expect("is known").is_confirmed_done = true;
            }
            let (journal, fates) = (&self.cores[core].journal, &mut self.fates);
            for (sequence, fate) in
                fates.iter_mut().filter(|(_, fate)| fate.is_at_risk && fate.keeper == core)
            {
                let segment = journal.open.get(*sequence).and_then(|open| journal.segment(open.segment));
                fate.is_at_risk = segment.is_some_and(|segment| segment.is_abandoned);
            }
        }
        self.take_released(core);
    }

    /// Notes which durable entries stand in the blocks of a write.
    fn note_risk(&mut self, core: usize, write: &Write) {
        let (start, end) = (write.offset, write.offset + write.block.bytes().len() as u64);
        let journal = &self.cores[core].journal;
        for (sequence, fate) in &mut self.fates {
            let Some(open) = journal.open.get(*sequence) else { continue };
            let (from, to) = (u64::from(open.offset), u64::from(open.offset + open.record_bytes));
            let is_there = journal.segment(open.segment).is_some_and(|at| at.header.name == write.segment);
            fate.is_at_risk |= is_there && from < end && to > start;
        }
    }

    fn begin_read(&mut self, core: usize) {
        let state = &mut self.cores[core];
        if let Some(mut read) = state.journal.next_read(self.nanos) {
            assert!(state.read.is_none(), "one read is under way at a time");
            self.disk.read(&mut read);
            state.read = Some(read);
        }
    }

    fn end_read(&mut self, core: usize) {
        let Some(read) = self.cores[core].read.take() else { return };
        let fails = self.faults.failing_read > 0 && self.random.one_in(self.faults.failing_read);
        self.cores[core].journal.on_read(read, if fails { Err(ReadError) } else { Ok(()) }, self.nanos);
        assert_eq!(self.cores[core].journal.damaged(), [], "nothing is damaged");
    }

    /// Reads an open entry back.
    fn read_back(&mut self, core: usize) {
        let state = &self.cores[core];
        let Some(&sequence) = state.open.get(self.random.below(state.open.len().max(1))) else { return };
        let Some(mut read) = state.journal.read(sequence, None) else {
            assert!(!self.fates[&sequence].is_promised, "{sequence} cannot be read");
            return;
        };
        self.disk.read(&mut read);
        let fate = &self.fates[&sequence];
        match state.journal.entry(&read, sequence) {
            Ok(entry) => {
                assert_eq!((entry.payload, entry.deliveries), (&fate.payload[..], fate.deliveries));
                self.seen.read_back += 1;
            }
            // A failed write has destroyed it, and it is to be written again.
            Err(NotRead::Damaged(_)) if fate.is_at_risk || self.had_failed_write => {}
            Err(why) => panic!("{sequence}: {why:?}"),
        }
    }

    fn step(&mut self) {
        let core = self.random.below(self.cores.len());
        match self.random.below(24) {
            0..=7 => self.append(core),
            8..=12 => self.begin_write(core),
            13..=16 => self.end_write(core),
            17..=19 => self.complete(core),
            20 => {
                self.review_notes(core);
                self.begin_read(core);
            }
            21 => self.end_read(core),
            22 => self.supply(core),
            _ => match self.random.below(6) {
                0 if self.faults.failing_supply => self.supply_fails = !self.supply_fails,
                0..=1 => self.read_back(core),
                2 => self.noted.forget(&mut self.random),
                3 => self.append_note(core),
                _ => self.nanos += self.random.below(2_000_000_000) as u64,
            },
        }
    }

    /// The process or the machine ends: writes that are in flight are torn.
    fn cut(&mut self) {
        for core in 0..self.cores.len() {
            self.seen.moved += self.cores[core].journal.stats().moved_entries;
            if let Some(write) = self.cores[core].write.take() {
                self.disk.tear(&write, &mut self.random);
            }
        }
    }

    /// Everything is done, and the journal takes as much as when it was new.
    fn empty(&mut self) {
        self.faults = Faults::default();
        self.supply_fails = false;
        self.noted.forget_all();
        for core in 0..self.cores.len() {
            for sequence in std::mem::take(&mut self.cores[core].open) {
                self.cores[core].journal.complete_entry(sequence, self.nanos);
            }
            for _ in 0..200 {
                self.nanos += 200_000_000;
                self.supply(core);
                self.begin_write(core);
                self.end_write(core);
                self.review_notes(core);
                self.begin_read(core);
                self.end_read(core);
            }
            let journal = &mut self.cores[core].journal;
            assert!(journal.is_settled() && journal.is_up(), "core {core} does not settle");
            let stats = journal.stats();
            assert_eq!((stats.open_entries, stats.open_bytes), (0, 0));
            // Notes are looked at where segments are wanted.
            let most = if journal.notes().next().is_some() { UNMOVED_SEGMENTS + 2 } else { 1 };
            assert!(stats.segments <= most, "{stats:?}");
            assert!(journal.append(EntryKind(0), 1, &[b"x"], Now { nanos: 0, unix_millis: 0 }).is_ok());
        }
        assert!(self.disk.files.len() <= self.segments_max);
    }
}

pub(super) fn recover(disk: &Disk, cores: usize, salt: u64) -> Recovered {
    let mut recovery = Recovery::new(Some(&disk.manifest), &disk.listing(), SEGMENT_BYTES, salt)
        .expect("a folder of its own");
    while let Some(name) = recovery.next() {
        recovery.scan(&disk.files[&name]);
    }
    recovery.finish(cores)
}

fn simulate(seed: u64, faults: Faults) -> Seen {
    let mut world = World::new(seed, faults);
    for _ in 0..RUNS {
        for _ in 0..world.random.below(2 * STEPS) {
            world.step();
        }
        world.cut();
        world.start();
    }
    world.empty();
    Seen { noted: world.noted.recovered, ..world.seen }
}

/// Seeds of a test: in an unoptimised build few.
const SEEDS: u64 = if cfg!(debug_assertions) { 40 } else { 1000 };

/// Runs seeds; a failure names its seed. `TIDEGATE_SIM_SEED` runs one alone, `TIDEGATE_SIM_SEEDS` sets their number.
fn simulate_all(faults: Faults) -> Seen {
    let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let seeds = match variable("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Seen::default();
    for seed in seeds {
        let seen = std::panic::catch_unwind(|| simulate(seed, faults));
        let seen = seen.unwrap_or_else(|_| panic!("seed {seed} with {faults:?}"));
        all.promised += seen.promised;
        all.recovered += seen.recovered;
        all.refused_full += seen.refused_full;
        all.refused_down += seen.refused_down;
        all.failed += seen.failed;
        all.moved += seen.moved;
        all.reused = all.reused.max(seen.reused);
        all.read_back += seen.read_back;
        all.partly_done += seen.partly_done;
        all.noted += seen.noted;
    }
    all
}

#[test]
fn what_is_durable_outlives_cuts_with_any_number_of_cores() {
    let seen = simulate_all(Faults::default());
    assert!(seen.promised > 2000 && seen.recovered > 500 && seen.read_back > 50, "{seen:?}");
    assert!(seen.moved > 0 && seen.refused_full > 0 && seen.partly_done > 0 && seen.noted > 500, "{seen:?}");
    assert_eq!((seen.failed, seen.refused_down), (0, 0));
}

#[test]
fn what_is_durable_outlives_failed_writes() {
    let faults = Faults { failing_write: 12, failing_read: 5, ..Faults::default() };
    let seen = simulate_all(faults);
    assert!(seen.promised > 1000 && seen.recovered > 200, "{seen:?}");
}

#[test]
fn what_is_durable_outlives_failed_writes_that_destroy_blocks() {
    let faults = Faults { failing_write: 12, destroys: true, ..Faults::default() };
    let seen = simulate_all(faults);
    assert!(seen.promised > 1000 && seen.recovered > 200, "{seen:?}");
}

#[test]
fn a_journal_without_segments_is_down_and_heals() {
    let faults = Faults { failing_write: 4, failing_supply: true, ..Faults::default() };
    let seen = simulate_all(faults);
    assert!(seen.refused_down > 40 && seen.failed > 10 && seen.promised > 500, "{seen:?}");
}
