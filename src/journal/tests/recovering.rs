//! Recovery from damage, one kind after the other.

use std::collections::BTreeSet;

use super::disk::{Disk, Random};
use super::simulation::recover;
use super::*;

/// A journal of some segments with open entries and completions, after a clean end.
fn filled() -> (Disk, Vec<Sequence>) {
    let mut bench = Bench::new(20);
    let mut open = Vec::new();
    for at in 0..300 {
        let sequence = bench.append(400 + at).unwrap();
        bench.run();
        if at % 3 == 0 {
            bench.journal.complete(sequence, 0, bench.nanos);
        } else {
            open.push(sequence);
        }
    }
    bench.nanos += 200 * MILLI;
    bench.run();
    assert!(bench.journal.stats().segments >= 3);
    (bench.disk, open)
}

fn open_of(recovered: &Recovered) -> Vec<Sequence> {
    recovered.shares.iter().flat_map(|share| &share.open).map(|entry| entry.sequence).collect()
}

fn begin(disk: &Disk) -> Result<Recovery, RecoveryError> {
    Recovery::new(Some(&disk.manifest), &disk.listing(), SEGMENT_BYTES, 1)
}

#[test]
fn a_clean_folder_is_read_back_in_order_whatever_number_of_cores() {
    let (disk, open) = filled();
    for cores in 1..4 {
        let recovered = recover(&disk, cores, 1);
        assert_eq!(open_of(&recovered), open);
        assert_eq!((recovered.shares.len(), recovered.fault_count, recovered.torn.len()), (cores, 0, 0));
        assert!(!recovered.spare.is_empty(), "those that were never used");
    }
}

#[test]
fn a_flipped_bit_costs_what_it_is_in_and_is_told_with_its_place() {
    let (disk, open) = filled();
    let all: BTreeSet<Sequence> = open.iter().copied().collect();
    let mut random = Random::new(1);
    let names: Vec<SegmentName> = disk.files.keys().copied().collect();
    let mut told = 0;
    for _ in 0..400 {
        let name = names[random.below(3)];
        let offset = random.below(SEGMENT_BYTES as usize);
        let mut damaged = Disk { manifest: disk.manifest.clone(), files: disk.files.clone() };
        damaged.files.get_mut(&name).unwrap()[offset] ^= 1 << random.below(8);
        let recovered = recover(&damaged, 1, 1);
        let found: BTreeSet<Sequence> = open_of(&recovered).into_iter().collect();
        let lost: Vec<_> = all.difference(&found).collect();
        assert!(lost.len() <= 1, "{name} at {offset}: {lost:?}");
        // A completion that is lost makes its entries appear again.
        assert!(found.difference(&all).all(|sequence| sequence.core() == 0));
        if !lost.is_empty() {
            let near = |fault: &Fault| match fault.kind {
                FaultKind::Records { end } => (fault.offset..end).contains(&(offset as u64)),
                _ => false,
            };
            let is_last = recovered.faults.is_empty();
            assert!(is_last || recovered.faults.iter().any(|fault| fault.segment == name && near(fault)));
            told += usize::from(!is_last);
        }
    }
    assert!(told > 100);
}

#[test]
fn damage_at_the_end_of_a_segment_that_another_followed_is_told() {
    let (mut disk, open) = filled();
    let name = *disk.files.keys().next().unwrap();
    let file = disk.files.get_mut(&name).unwrap();
    let last = file.iter().rposition(|byte| *byte != 0).unwrap();
    file[last - 2000..].fill(0);
    let recovered = recover(&disk, 1, 1);
    assert!(open_of(&recovered).len() < open.len());
    let [Fault { segment, kind: FaultKind::Records { end }, .. }] = recovered.faults[..] else {
        panic!("{:?}", recovered.faults)
    };
    assert_eq!((segment, end as usize), (name, (last + 1).next_multiple_of(8)));
}

#[test]
fn a_torn_end_is_cut_and_no_damage() {
    let mut bench = Bench::new(8);
    let first = bench.append(10).unwrap();
    bench.run();
    bench.append(3 * BLOCK_BYTES).unwrap();
    let write = bench.journal.next_write(0).unwrap();
    for length in (512..write.block.bytes().len()).step_by(512) {
        let mut disk = Disk { manifest: bench.disk.manifest.clone(), files: bench.disk.files.clone() };
        let file = disk.files.get_mut(&write.segment).unwrap();
        file[write.offset as usize..][..length].copy_from_slice(&write.block.bytes()[..length]);
        let recovered = recover(&disk, 1, 1);
        if open_of(&recovered) != [first] {
            assert_eq!(open_of(&recovered).len(), 2, "whole");
            continue;
        }
        assert_eq!((recovered.fault_count, recovered.torn.len()), (0, 1), "{length} bytes");
    }
}

#[test]
fn damage_to_the_header_of_the_last_record_is_told_as_a_torn_write() {
    for records in [1, 3] {
        let mut bench = Bench::new(8);
        for _ in 0..records {
            bench.append(10).unwrap();
            bench.run();
        }
        let last = SEGMENT_HEADER_BYTES + (records - 1) * 56;
        let name = *bench.disk.files.keys().find(|name| bench.disk.files[name][last] != 0).unwrap();
        assert_eq!(recover(&bench.disk, 1, 1).torn, []);
        bench.disk.files.get_mut(&name).unwrap()[last + 10] ^= 1;
        let recovered = recover(&bench.disk, 1, 1);
        assert_eq!(open_of(&recovered).len(), records - 1);
        assert_eq!((recovered.fault_count, &recovered.torn[..]), (0, &[(name, last as u64)][..]));
    }
}

#[test]
fn damage_to_what_was_written_last_is_told_after_another_start_has_written_more() {
    let mut bench = Bench::new(8);
    let first = bench.append(10).unwrap();
    bench.run();
    let name = *bench.disk.files.keys().find(|name| bench.disk.files[name][0] != 0).unwrap();
    // A start with what is there, which opens another segment.
    let share = recover(&bench.disk, 1, 1).shares.remove(0);
    bench.journal = Journal::new(bench.journal.config, share);
    bench.supply();
    let second = bench.append(10).unwrap();
    bench.run();
    assert_eq!(bench.recovered(), [first, second]);
    bench.disk.files.get_mut(&name).unwrap()[SEGMENT_HEADER_BYTES + 10] ^= 1;
    let recovered = recover(&bench.disk, 1, 1);
    let offset = SEGMENT_HEADER_BYTES as u64;
    let kind = FaultKind::Records { end: offset + 56 };
    assert_eq!(recovered.faults, [Fault { segment: name, offset, kind }]);
    assert_eq!(open_of(&recovered), [second]);
}

#[test]
fn a_missing_segment_and_a_foreign_one_stop_the_start() {
    let (mut disk, _) = filled();
    let mut names = disk.files.keys().copied();
    let (first, second) = (names.next().unwrap(), names.next().unwrap());
    let taken = disk.files.remove(&first).unwrap();
    assert_eq!(begin(&disk).err(), Some(RecoveryError::Missing(vec![first])));
    // One segment under another's name.
    disk.files.insert(first, disk.files[&second].clone());
    assert_eq!(begin(&disk).err(), Some(RecoveryError::Foreign(first)));
    disk.files.insert(first, taken);
    assert!(begin(&disk).is_ok());
    disk.manifest.folder += 1;
    assert_eq!(begin(&disk).err(), Some(RecoveryError::Foreign(first)));
    let without = Recovery::new(None, &disk.listing(), SEGMENT_BYTES, 1);
    assert_eq!(without.err(), Some(RecoveryError::NoManifest));
    for error in [RecoveryError::Missing(vec![first]), RecoveryError::Foreign(first)] {
        assert!(error.to_string().contains("0-1.segment"), "{error}");
    }
}

#[test]
fn files_that_were_being_made_or_deleted_are_left_over() {
    let (mut disk, open) = filled();
    let deleted = *disk.files.keys().next_back().unwrap();
    disk.manifest.segments.remove(&deleted);
    let made = SegmentName { core: 9, number: 9 };
    disk.files.insert(made, vec![0; 100]);
    let recovered = recover(&disk, 1, 1);
    assert_eq!((recovered.leftover.clone(), open_of(&recovered)), (vec![deleted, made], open));
    // A size of before.
    let mut recovery = Recovery::new(Some(&disk.manifest), &disk.listing(), 2 * SEGMENT_BYTES, 1).unwrap();
    while let Some(name) = recovery.next() {
        recovery.scan(&disk.files[&name]);
    }
    assert_eq!(recovery.finish(1).spare, []);
}

#[test]
fn a_damaged_header_and_a_cut_file_are_told() {
    let (mut disk, open) = filled();
    let name = *disk.files.keys().next().unwrap();
    let whole = disk.files[&name].clone();
    disk.files.get_mut(&name).unwrap()[..BLOCK_BYTES].fill(1);
    let recovered = recover(&disk, 1, 1);
    assert_eq!(recovered.damaged, [name]);
    assert_eq!(recovered.faults, [Fault { segment: name, offset: 0, kind: FaultKind::Header }]);
    assert!(open_of(&recovered).len() < open.len());
    disk.files.insert(name, whole[..10_000].to_vec());
    let recovered = recover(&disk, 1, 1);
    assert_eq!(recovered.faults[0], Fault { segment: name, offset: 10_000, kind: FaultKind::Short });
    assert!(open_of(&recovered).len() < open.len());
}

#[test]
fn records_of_an_earlier_use_are_none() {
    let mut bench = Bench::new(5);
    for _ in 0..2000 {
        let sequence = bench.append(1000).unwrap();
        bench.run();
        bench.journal.complete(sequence, 0, bench.nanos);
    }
    bench.nanos += 200 * MILLI;
    bench.run();
    let recovered = recover(&bench.disk, 1, 1);
    assert_eq!((open_of(&recovered), recovered.fault_count), (vec![], 0));
    assert!(recovered.records < 1000, "{} of 2,000 and as many completions", recovered.records);
}
