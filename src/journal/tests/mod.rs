//! The journal's rules one by one, and a simulation of all of them on a disk that fails.

mod disk;
mod noted;
mod noting;
mod recovering;
mod simulation;

use super::segment::SEGMENT_HEADER_BYTES;
use super::*;
use crate::base::clock::Now;
use disk::Disk;

const SEGMENT_BYTES: u32 = 64 * 1024;
const MILLI: u64 = 1_000_000;

/// One core on a disk that does what it is told.
struct Bench {
    journal: Journal,
    disk: Disk,
    pool: Vec<SpareSegment>,
    discarded: Vec<SegmentName>,
    segments_max: usize,
    nanos: u64,
}

impl Bench {
    fn new(segments_max: usize) -> Bench {
        let disk = Disk::new();
        let config = Config { core: 0, folder: disk.manifest.folder, segment_bytes: SEGMENT_BYTES };
        let share = simulation::recover(&disk, 1, 1).shares.remove(0);
        let journal = Journal::new(config, share);
        let mut bench =
            Bench { journal, disk, pool: Vec::new(), discarded: Vec::new(), segments_max, nanos: 0 };
        bench.supply();
        bench
    }

    fn supply(&mut self) {
        for _ in 0..self.journal.segments_wanted(self.nanos) {
            if let Some(spare) = self.pool.pop() {
                self.journal.add_segment(spare);
                continue;
            }
            if self.disk.files.len() >= self.segments_max {
                return self.journal.segment_refused(NoSegment::Full, self.nanos);
            }
            let name = self.disk.make(0, SEGMENT_BYTES);
            self.journal.add_segment(SpareSegment { name, bytes: SEGMENT_BYTES, uses: 0, salt: 1 });
        }
    }

    fn append(&mut self, bytes: usize) -> Result<Sequence, Refused> {
        let now = Now { nanos: self.nanos, unix_millis: self.nanos / MILLI };
        self.journal.append(EntryKind(1), 1, &[&vec![7; bytes]], now)
    }

    /// Writes and reads until there is nothing to do.
    fn run(&mut self) {
        loop {
            self.supply();
            while let Some(released) = self.journal.released() {
                match released {
                    ReleasedSegment::Spare(spare) => self.pool.push(spare),
                    ReleasedSegment::Discard(name) => {
                        self.disk.delete(name);
                        self.discarded.push(name);
                    }
                }
            }
            let write = self.journal.next_write(self.nanos);
            let read = self.journal.next_read(self.nanos);
            if write.is_none() && read.is_none() {
                return;
            }
            if let Some(mut read) = read {
                self.disk.read(&mut read);
                self.journal.on_read(read, Ok(()), self.nanos);
            }
            if let Some(write) = write {
                self.disk.write(&write);
                self.journal.on_written(write, Ok(()), self.nanos);
            }
        }
    }

    /// A write fails, although all of it is on the disk.
    fn fail_write(&mut self) -> SegmentName {
        let write = self.journal.next_write(self.nanos).expect("something is pending");
        let segment = write.segment;
        self.disk.write(&write);
        self.journal.on_written(write, Err(WriteError), self.nanos);
        segment
    }

    fn recovered(&self) -> Vec<Sequence> {
        let recovered = simulation::recover(&self.disk, 1, 1);
        assert_eq!(recovered.faults, []);
        recovered.shares[0].open.iter().map(|entry| entry.sequence).collect()
    }
}

#[test]
fn all_that_is_pending_is_one_write_and_the_next_waits_for_it() {
    let mut bench = Bench::new(8);
    assert!(bench.journal.next_write(0).is_none());
    let first = bench.append(100).unwrap();
    let second = bench.append(100).unwrap();
    assert!(bench.journal.durable() < first);
    let write = bench.journal.next_write(0).unwrap();
    assert_eq!((write.offset, write.block.bytes().len()), (0, 2 * BLOCK_BYTES), "with the header");
    let third = bench.append(100).unwrap();
    assert!(bench.journal.next_write(0).is_none(), "one is in flight");
    bench.disk.write(&write);
    bench.journal.on_written(write, Ok(()), 0);
    assert_eq!(bench.journal.durable(), second);
    let write = bench.journal.next_write(0).unwrap();
    assert_eq!(
        (write.offset, write.block.bytes().len()),
        (BLOCK_BYTES as u64, BLOCK_BYTES),
        "the tail again"
    );
    bench.disk.write(&write);
    bench.journal.on_written(write, Ok(()), 0);
    assert_eq!(bench.journal.durable(), third);
    assert_eq!(bench.recovered(), [first, second, third]);
}

#[test]
fn a_write_begins_with_the_last_block_that_is_not_full() {
    let mut bench = Bench::new(8);
    bench.append(3 * BLOCK_BYTES).unwrap();
    bench.run();
    bench.append(10).unwrap();
    let write = bench.journal.next_write(0).unwrap();
    assert_eq!((write.offset, write.block.bytes().len()), (4 * BLOCK_BYTES as u64, BLOCK_BYTES));
}

#[test]
fn a_completion_rides_along_and_goes_alone_after_a_tenth_of_a_second() {
    let mut bench = Bench::new(8);
    let first = bench.append(10).unwrap();
    bench.run();
    assert_eq!(bench.journal.deadline(), None);
    bench.nanos = 5 * MILLI;
    assert!(bench.journal.complete(first, 0, bench.nanos));
    assert!(!bench.journal.complete(first, 0, bench.nanos), "once");
    assert_eq!(bench.journal.deadline(), Some(105 * MILLI));
    assert!(bench.journal.next_write(104 * MILLI).is_none());
    let second = bench.append(10).unwrap();
    bench.run();
    assert_eq!((bench.recovered(), bench.journal.deadline()), (vec![second], None));
    bench.journal.complete(second, 0, bench.nanos);
    bench.nanos = bench.journal.deadline().unwrap();
    bench.run();
    assert_eq!(bench.recovered(), []);
    assert!(bench.journal.is_settled());
}

#[test]
fn a_delivery_that_is_done_before_its_entry_is_durable_counts() {
    let mut bench = Bench::new(8);
    let sequence = bench.append(10).unwrap();
    assert!(!bench.journal.complete(sequence, 0, 0));
    bench.run();
    bench.nanos = 200 * MILLI;
    bench.run();
    assert_eq!((bench.recovered(), bench.journal.stats().open_entries), (vec![], 0));
}

#[test]
fn what_a_failed_write_was_for_goes_to_the_next_segment_and_never_the_same_place() {
    let mut bench = Bench::new(8);
    let durable = bench.append(10).unwrap();
    bench.run();
    let pending = bench.append(10).unwrap();
    let abandoned = bench.fail_write();
    // The block that was rewritten is lost as a whole.
    bench.disk.files.get_mut(&abandoned).unwrap()[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0x55);
    assert_eq!((bench.journal.failed(), bench.journal.durable()), (None, durable));
    assert!(bench.journal.is_up());
    let write = bench.journal.next_write(0).unwrap();
    assert_ne!(write.segment, abandoned);
    bench.disk.write(&write);
    bench.journal.on_written(write, Ok(()), 0);
    assert_eq!(bench.journal.durable(), pending);
    assert_eq!(bench.recovered(), [durable, pending]);
    for sequence in [durable, pending] {
        bench.journal.complete(sequence, 0, 0);
    }
    bench.append(1).unwrap();
    bench.run();
    assert_eq!(bench.discarded, [abandoned]);
}

#[test]
fn without_a_segment_the_journal_is_down_until_it_gets_one() {
    let mut bench = Bench::new(8);
    let durable = bench.append(10).unwrap();
    bench.run();
    bench.supply();
    let failing = [bench.append(10).unwrap(), bench.append(10).unwrap()];
    for _ in 0..4 {
        assert!(bench.journal.is_up());
        bench.fail_write();
    }
    assert!(!bench.journal.is_up());
    let failed = bench.journal.failed().unwrap();
    assert!(failing.iter().all(|sequence| failed.contains(sequence)) && !failed.contains(&durable));
    assert_eq!(bench.append(10), Err(Refused::Down));
    assert!(bench.journal.next_write(0).is_none());
    assert_eq!(bench.journal.deadline(), None, "nothing can be done before there is a segment");
    bench.run();
    assert!(bench.journal.is_up());
    let after = bench.append(10).unwrap();
    bench.run();
    assert_eq!(bench.journal.failed(), None);
    assert_eq!(bench.recovered(), [durable, after], "what has failed is not delivered");
}

#[test]
fn a_full_journal_takes_entries_again_once_others_are_done() {
    let mut bench = Bench::new(6);
    let mut open = Vec::new();
    let refused = loop {
        match bench.append(1000) {
            Ok(sequence) => open.push(sequence),
            Err(refused) => break refused,
        }
        bench.run();
    };
    assert_eq!(refused, Refused::Full);
    assert!(open.len() > 3 * 60, "all but what is reserved: {}", open.len());
    assert!(bench.journal.is_up(), "full is not down");
    // Every other one: no segment is free by that alone.
    for sequence in open.iter().step_by(2) {
        bench.journal.complete(*sequence, 0, bench.nanos);
    }
    bench.nanos += 2000 * MILLI;
    bench.run();
    assert!(bench.journal.stats().moved_entries > 0);
    let new = bench.append(1000).expect("there is room");
    bench.run();
    let mut expected: Vec<Sequence> = open.iter().skip(1).step_by(2).copied().collect();
    expected.push(new);
    assert_eq!(bench.recovered(), expected);
    assert_eq!(bench.disk.files.len(), 6);
}

#[test]
fn an_entry_that_stays_open_does_not_keep_the_segments() {
    let mut bench = Bench::new(100);
    let stuck = bench.append(1000).unwrap();
    for _ in 0..5000 {
        let sequence = bench.append(1000).unwrap();
        bench.run();
        bench.journal.complete(sequence, 0, bench.nanos);
        bench.nanos += MILLI;
    }
    let stats = bench.journal.stats();
    assert!(stats.segments <= 7 && bench.disk.files.len() <= 11, "{stats:?}");
    assert_eq!(stats.oldest_unix_millis, Some(0));
    assert!(stats.moved_entries < 100, "{stats:?}");
    bench.nanos += 200 * MILLI;
    bench.run();
    assert_eq!(bench.recovered(), [stuck]);
    let read = bench.journal.read(stuck, None).map(|mut read| {
        bench.disk.read(&mut read);
        read
    });
    let read = read.expect("is open");
    assert_eq!(bench.journal.entry(&read, stuck).map(|entry| entry.payload), Ok(&[7; 1000][..]));
}

#[test]
fn an_entry_that_is_done_while_it_is_moved_is_not_written_again() {
    let mut bench = Bench::new(100);
    let stuck = bench.append(1000).unwrap();
    let mut read = loop {
        if let Some(read) = bench.journal.next_read(bench.nanos) {
            break read;
        }
        let sequence = bench.append(1000).unwrap();
        bench.supply();
        let write = bench.journal.next_write(bench.nanos).unwrap();
        bench.disk.write(&write);
        bench.journal.on_written(write, Ok(()), bench.nanos);
        bench.journal.complete(sequence, 0, bench.nanos);
    };
    bench.disk.read(&mut read);
    bench.journal.on_read(read, Ok(()), bench.nanos);
    assert_eq!(bench.journal.repeats, 1);
    bench.journal.complete(stuck, 0, bench.nanos);
    bench.nanos += 200 * MILLI;
    let written = bench.journal.stats().written_records;
    bench.run();
    assert_eq!(bench.journal.stats().written_records, written + 1, "the completions alone");
    assert_eq!((bench.recovered(), bench.journal.repeats), (vec![], 0));
}

#[test]
fn what_is_lost_of_an_open_entry_is_told_and_does_not_keep_its_segment() {
    let mut bench = Bench::new(100);
    let stuck = bench.append(1000).unwrap();
    // So that its block is full, and not written again from memory.
    let other = bench.append(2 * BLOCK_BYTES).unwrap();
    bench.run();
    bench.journal.complete(other, 0, 0);
    let (name, _) = bench.disk.files.first_key_value().unwrap();
    let name = *name;
    bench.disk.files.get_mut(&name).unwrap()[SEGMENT_HEADER_BYTES + 500] ^= 1;
    let mut read = bench.journal.read(stuck, None).unwrap();
    bench.disk.read(&mut read);
    assert!(matches!(bench.journal.entry(&read, stuck), Err(NotRead::Damaged(_))));
    let mut damaged = Vec::new();
    for _ in 0..1000 {
        let sequence = bench.append(1000).unwrap();
        bench.run();
        bench.journal.complete(sequence, 0, bench.nanos);
        damaged.extend(bench.journal.damaged());
    }
    let [fault] = damaged[..] else { panic!("{damaged:?} {:?}", bench.journal.stats()) };
    assert_eq!((fault.segment, fault.offset), (name, SEGMENT_HEADER_BYTES as u64));
    assert_eq!(bench.journal.stats().damaged_entries, 1);
    assert!(bench.journal.stats().segments <= 7);
}

#[test]
fn entries_longer_than_a_segment_are_refused_and_the_longest_is_not() {
    let mut bench = Bench::new(8);
    let longest = bench.journal.config.entry_bytes_max();
    assert_eq!(bench.append(longest + 1), Err(Refused::TooLarge));
    bench.append(10).unwrap();
    bench.run();
    let sequence = bench.append(longest).unwrap();
    bench.run();
    assert_eq!(bench.recovered().last(), Some(&sequence));
    let mut read = bench.journal.read(sequence, None).unwrap();
    bench.disk.read(&mut read);
    assert_eq!(bench.journal.entry(&read, sequence).map(|entry| entry.payload.len()), Ok(longest));
}

#[test]
fn a_read_holds_the_entries_that_follow() {
    let mut bench = Bench::new(8);
    let all: Vec<Sequence> = (0..40).map(|_| bench.append(500).unwrap()).collect();
    bench.run();
    let mut read = bench.journal.read(all[0], None).unwrap();
    bench.disk.read(&mut read);
    for sequence in &all {
        assert!(bench.journal.is_in(&read, *sequence));
        assert!(bench.journal.entry(&read, *sequence).is_ok());
    }
    bench.journal.complete(all[3], 0, 0);
    assert_eq!(bench.journal.entry(&read, all[3]), Err(NotRead::NotOpen));
}
