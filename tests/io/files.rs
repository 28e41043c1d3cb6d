//! What holds for the files of every backend.

use tidegate::base::block::{AlignedBlock, BLOCK_BYTES};
use tidegate::io::{FileId, Io, Operation, Safety, Transfer};

use crate::host::{Host, World, pattern};

const BLOCKS: usize = 16;

fn block(stream: u64, blocks: usize) -> AlignedBlock {
    let mut block = AlignedBlock::zeroed(blocks * BLOCK_BYTES);
    block.bytes_mut().copy_from_slice(&pattern(stream, blocks * BLOCK_BYTES));
    block
}

fn transfer(file: FileId, at: usize, block: AlignedBlock) -> Box<Transfer> {
    Box::new(Transfer { file, offset: (at * BLOCK_BYTES) as u64, block })
}

fn add<W: World>(host: &mut Host<W>, safety: Safety) -> FileId {
    let file = host.world.file(BLOCKS * BLOCK_BYTES, safety);
    host.world.io().add_file(file)
}

/// Turns until so many transfers have ended, and takes them in the order of their places.
fn ended<W: World>(host: &mut Host<W>, count: usize) -> Vec<(bool, Box<Transfer>, std::io::Result<()>)> {
    host.until("transfers end", |host| host.transferred.len() == count);
    let mut ended = std::mem::take(&mut host.transferred);
    ended.sort_by_key(|(_, transfer, _)| transfer.offset);
    ended
}

pub fn blocks_that_were_written_are_read_back<W: World>() {
    for safety in [Safety::Disk, Safety::Kernel] {
        let mut host = Host::<W>::new();
        let (file, other) = (add(&mut host, safety), add(&mut host, safety));
        // Several at a time, of several sizes.
        for (at, blocks) in [(0, 1), (1, 3), (8, 8)] {
            host.start(Operation::Write(transfer(file, at, block(at as u64, blocks))));
        }
        for (at, (is_write, transfer, result)) in [0, 1, 8].into_iter().zip(ended(&mut host, 3)) {
            assert!(is_write && result.is_ok(), "{result:?}");
            assert_eq!((transfer.file, transfer.offset), (file, (at * BLOCK_BYTES) as u64));
            let sent = pattern(at as u64, transfer.block.bytes().len());
            assert_eq!(transfer.block.bytes(), sent, "the block comes back unchanged");
        }
        // One that is written again.
        host.start(Operation::Write(transfer(file, 1, block(99, 1))));
        assert!(ended(&mut host, 1)[0].2.is_ok());
        host.start(Operation::Read(transfer(file, 0, AlignedBlock::zeroed(BLOCKS * BLOCK_BYTES))));
        host.start(Operation::Read(transfer(other, 1, AlignedBlock::zeroed(BLOCK_BYTES))));
        let read = ended(&mut host, 2);
        assert!(read.iter().all(|(is_write, _, result)| !is_write && result.is_ok()), "{read:?}");
        let mut expected = vec![0; BLOCKS * BLOCK_BYTES];
        for (at, stream, blocks) in [(0, 0, 1), (1, 1, 3), (1, 99, 1), (8, 8, 8)] {
            let bytes = pattern(stream, blocks * BLOCK_BYTES);
            expected[at * BLOCK_BYTES..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert!(read[0].1.block.bytes() == expected);
        assert!(read[1].1.block.bytes().iter().all(|byte| *byte == 0), "another file");
    }
}

pub fn transfers_of_a_closed_file_are_reported<W: World>() {
    let mut host = Host::<W>::new();
    let file = add(&mut host, Safety::Disk);
    host.start(Operation::Write(transfer(file, 0, block(1, 1))));
    host.start(Operation::CloseFile { file });
    host.start(Operation::Write(transfer(file, 1, block(2, 1))));
    host.start(Operation::CloseFile { file });
    let ended = ended(&mut host, 2);
    assert!(ended[0].2.is_ok() && ended[1].2.is_err(), "{ended:?}");
    // Another takes its place, and is not confused with it.
    let next = add(&mut host, Safety::Disk);
    assert_ne!(next, file);
    host.start(Operation::Read(transfer(file, 0, AlignedBlock::zeroed(1))));
    host.start(Operation::Read(transfer(next, 1, AlignedBlock::zeroed(1))));
    let ended = self::ended(&mut host, 2);
    assert!(ended[0].2.is_err() && ended[1].2.is_ok(), "{ended:?}");
}

pub fn a_read_beyond_the_end_is_an_error<W: World>() {
    let mut host = Host::<W>::new();
    let file = add(&mut host, Safety::Disk);
    for at in [BLOCKS - 1, BLOCKS] {
        host.start(Operation::Read(transfer(file, at, AlignedBlock::zeroed(2 * BLOCK_BYTES))));
    }
    assert!(ended(&mut host, 2).iter().all(|(_, _, result)| result.is_err()));
}
