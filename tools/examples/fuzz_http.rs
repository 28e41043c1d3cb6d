//! A fuzzer's entry point for the HTTP machine, over the public API: bytes from standard input, read whole and byte by
//! byte, come to the same. The guide shows it, on the page `conformance`.

use std::io::Read;

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::http::{Connection, Limits, Refusal, Step};

/// Target and body of a request.
type Seen = (Vec<u8>, Vec<u8>);

/// The requests that are read out of the pieces, and the rule that they then break, if they do.
fn read<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> (Vec<Seen>, Option<Refusal>) {
    let mut connection = Connection::new(Limits::default());
    let (mut buffer, mut requests) = (ReceiveBuffer::default(), Vec::new());
    for piece in pieces {
        buffer.extend(piece);
        loop {
            match connection.poll(&mut buffer) {
                Step::NeedData => break,
                Step::Head => connection.take_body(262_144),
                Step::Request => {
                    let target = connection.request(&buffer).target().to_vec();
                    requests.push((target, connection.body(&buffer).to_vec()));
                    connection.finish(&mut buffer);
                    if !connection.keep_alive() {
                        return (requests, None);
                    }
                }
                Step::Refused(refusal) => return (requests, Some(refusal)),
                Step::TooLarge => return (requests, None),
                Step::Dropped | Step::Paused => unreachable!("every body is taken, every request finished"),
            }
        }
    }
    (requests, None)
}

fn main() -> std::io::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let whole = read(std::iter::once(&bytes[..]));
    assert_eq!(read(bytes.chunks(1)), whole);
    println!("{whole:?}");
    Ok(())
}
