//! Notes: there with their entries, longer than them, and no longer than they are needed.

use super::simulation::recover;
use super::*;

const DAY_SECONDS: u32 = 86_400;

fn note(number: u64) -> Note {
    let mut subject = [0; SUBJECT_BYTES];
    subject[..8].copy_from_slice(&number.to_le_bytes());
    Note { subject, unix_millis: number, seconds: DAY_SECONDS }
}

impl Bench {
    fn append_noted(&mut self, note: &Note, bytes: usize) -> Sequence {
        let now = Now { nanos: self.nanos, unix_millis: self.nanos / MILLI };
        self.journal
            .append_noted(EntryKind(1), 1, Some(note), &[&vec![7; bytes]], now)
            .expect("there is room")
    }

    /// The notes that a start finds, by their numbers.
    fn noted(&self) -> Vec<u64> {
        let recovered = recover(&self.disk, 1, 1);
        assert_eq!(recovered.faults, []);
        let config = Config { core: 0, folder: self.disk.manifest.folder, segment_bytes: SEGMENT_BYTES };
        let share = recovered.shares.into_iter().next().expect("one for a core");
        let mut noted: Vec<u64> = Journal::new(config, share).notes().map(|note| note.unix_millis).collect();
        noted.sort_unstable();
        noted.dedup();
        noted
    }
}

#[test]
fn a_note_is_durable_with_its_entry_and_outlives_it() {
    let mut bench = Bench::new(8);
    let sequence = bench.append_noted(&note(1), 300);
    assert!(bench.noted().is_empty());
    bench.run();
    let mut read = bench.journal.read(sequence, None).unwrap();
    bench.disk.read(&mut read);
    assert_eq!(bench.journal.entry(&read, sequence).map(|entry| entry.payload), Ok(&[7; 300][..]));
    bench.journal.complete(sequence, 0, 0);
    let alone = bench.journal.append_note(&note(2)).unwrap();
    assert!(bench.journal.durable() < alone);
    bench.nanos += 200 * MILLI;
    bench.run();
    assert_eq!(bench.journal.durable(), alone);
    assert_eq!((bench.noted(), bench.recovered()), (vec![1, 2], vec![]));
}

#[test]
fn a_torn_write_has_the_note_of_an_entry_if_and_only_if_it_has_the_entry() {
    let mut bench = Bench::new(8);
    for number in 1..20 {
        bench.append_noted(&note(number), 100 * number as usize);
    }
    let write = bench.journal.next_write(0).unwrap();
    let sectors = write.block.bytes().len() / 512;
    let mut cut = 0;
    for missing in 0..sectors {
        let mut disk = Disk { manifest: bench.disk.manifest.clone(), files: bench.disk.files.clone() };
        let file = disk.files.get_mut(&write.segment).unwrap();
        for (at, sector) in write.block.bytes().chunks(512).enumerate().filter(|(at, _)| *at != missing) {
            file[at * 512..][..512].copy_from_slice(sector);
        }
        let recovered = recover(&disk, 1, 1);
        let share = &recovered.shares[0];
        let entries = share.open.len();
        let config = Config { core: 0, folder: disk.manifest.folder, segment_bytes: SEGMENT_BYTES };
        let notes = Journal::new(config, share.clone()).notes().count();
        assert_eq!(entries, notes, "without sector {missing}");
        cut += usize::from(entries < 19);
    }
    assert!(cut > 20, "{cut}");
}

#[test]
fn notes_are_carried_forward_when_their_segments_are_used_again() {
    let mut bench = Bench::new(100);
    for number in 1..=100 {
        let sequence = bench.append_noted(&note(number), 10);
        bench.run();
        bench.journal.complete(sequence, 0, 0);
    }
    for _ in 0..5_000 {
        let sequence = bench.append(1000).unwrap();
        bench.run();
        bench.journal.complete(sequence, 0, bench.nanos);
        bench.nanos += MILLI;
    }
    let stats = bench.journal.stats();
    assert!(stats.segments <= 7 && bench.disk.files.len() <= 11, "{stats:?}");
    assert_eq!(bench.noted(), (1..=100).collect::<Vec<u64>>());
    assert!(bench.journal.notes().count() <= 100 && bench.journal.carried == 0);
}

#[test]
fn notes_that_are_over_or_not_needed_are_forgotten_and_hold_nothing() {
    let mut bench = Bench::new(100);
    let short = Note { seconds: 1, ..note(1) };
    let (long, unneeded) = (note(2), note(3));
    for note in [&short, &long, &unneeded] {
        bench.journal.append_note(note).unwrap();
    }
    bench.run();
    let mut looked_at = 0;
    for _ in 0..1_000 {
        let sequence = bench.append(1000).unwrap();
        bench.run();
        bench.journal.complete(sequence, 0, bench.nanos);
        bench.nanos += 10 * MILLI;
        if bench.journal.is_review_due() {
            bench.journal.review_notes(bench.nanos / MILLI, |note| {
                looked_at += 1;
                assert_ne!(*note, short, "its time is over");
                *note != unneeded
            });
        }
    }
    assert!((1..100).contains(&looked_at), "{looked_at}");
    assert_eq!(bench.noted(), [2]);
}

#[test]
fn a_full_journal_of_notes_takes_more_once_they_are_not_needed() {
    let mut bench = Bench::new(8);
    let mut number = 0;
    let refused = loop {
        number += 1;
        match bench.journal.append_note(&note(number)) {
            Ok(_) => bench.run(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::Full);
    assert_eq!(bench.noted(), (1..number).collect::<Vec<u64>>());
    for _ in 0..1_000 {
        bench.nanos += 20 * MILLI;
        bench.run();
        bench.journal.review_notes(0, |note| note.unix_millis % 8 == 0);
    }
    assert!(bench.journal.append_note(&note(number)).is_ok());
    bench.run();
    let noted = bench.noted();
    assert!((1..number).filter(|number| number % 8 == 0).all(|kept| noted.contains(&kept)));
    assert!(noted.contains(&number));
}

#[test]
fn the_note_of_an_entry_that_failed_is_revoked_although_it_is_on_the_disk() {
    let mut bench = Bench::new(8);
    let kept = bench.append_noted(&note(1), 10);
    bench.run();
    bench.supply();
    let failing = bench.append_noted(&note(2), 10);
    bench.journal.append_note(&note(3)).unwrap();
    for _ in 0..4 {
        bench.fail_write();
    }
    assert!(bench.journal.failed().unwrap().contains(&failing));
    bench.run();
    bench.journal.complete(kept, 0, bench.nanos);
    bench.nanos += 200 * MILLI;
    bench.run();
    assert_eq!((bench.noted(), bench.recovered()), (vec![1], vec![]));
    // What was refused is tried again, under the same subject.
    bench.append_noted(&note(2), 10);
    bench.run();
    assert_eq!(bench.noted(), [1, 2]);
}

#[test]
fn notes_in_a_block_that_a_failed_write_was_for_go_to_the_next_segment() {
    let mut bench = Bench::new(8);
    let done = bench.append_noted(&note(1), 10);
    bench.journal.append_note(&note(2)).unwrap();
    bench.run();
    bench.journal.complete(done, 0, 0);
    bench.append_noted(&note(3), 10);
    let abandoned = bench.fail_write();
    bench.disk.files.get_mut(&abandoned).unwrap()[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0x55);
    bench.nanos += 200 * MILLI;
    bench.run();
    assert_eq!(bench.noted(), [1, 2, 3]);
    assert_eq!(bench.recovered().len(), 1);
}
