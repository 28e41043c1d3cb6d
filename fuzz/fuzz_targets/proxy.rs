//! A PROXY header: never a byte of what follows it, the same whole and byte by byte, and as a plain reading finds it.
//! Each input also makes a header whose four fields differ: each must be found where it was written.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::Choices;

use libfuzzer_sys::fuzz_target;
use tidegate::proxy::{Addresses, Parsed, V1_BYTES_MAX, V2_BYTES_MAX, Version, parse};

/// A header written anew from what was read: of version 1 the one spelling, of version 2 without extensions.
fn written(version: Version, addresses: Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    match (version, source, destination) {
        (Version::One, ..) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
        }
        (Version::Two, SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
            bytes.extend(from.ip().octets());
            bytes.extend(to.ip().octets());
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
            bytes
        }
        (Version::Two, SocketAddr::V6(from), SocketAddr::V6(to)) => {
            let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
            bytes.extend(from.ip().octets());
            bytes.extend(to.ip().octets());
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
            bytes
        }
        (Version::Two, ..) => panic!("ends of two families: {source} {destination}"),
    }
}

/// Two addresses of one family whose parts all differ.
fn addresses(choices: &mut Choices<'_>) -> Addresses {
    let is_four = choices.truth();
    let mut ip = |last: u8| -> IpAddr {
        let bytes = [choices.byte(), choices.byte(), choices.byte()];
        if is_four {
            Ipv4Addr::new(bytes[0], bytes[1], bytes[2], last).into()
        } else {
            let [a, b, c] = bytes.map(u16::from);
            Ipv6Addr::new(0x2001, a, b, 0, 0, c, 7, u16::from(last)).into()
        }
    };
    let (source, destination) = (ip(1), ip(2));
    let port = 1 + u16::from(choices.byte());
    Addresses { source: (source, port).into(), destination: (destination, port + 1000).into() }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let expected = addresses(&mut choices);
    let version = if choices.truth() { Version::One } else { Version::Two };
    let header = written(version, expected);
    let Ok(Parsed::Complete(length, read)) = parse(&header) else {
        panic!("{} is not taken", header.escape_ascii());
    };
    assert_eq!((length, read.version, read.addresses), (header.len(), version, Some(expected)));
    let whole = parse(data);
    // The first piece of it that is more than a beginning says what the whole says, and so does each longer one.
    let first = (0..=data.len()).find(|end| parse(&data[..*end]) != Ok(Parsed::Partial));
    let Some(first) = first else {
        assert_eq!(whole, Ok(Parsed::Partial));
        assert!(data.len() < V2_BYTES_MAX, "waits for more than a header may have");
        return;
    };
    match parse(&data[..first]) {
        Ok(Parsed::Partial) => unreachable!("looked for something else"),
        Ok(Parsed::Complete(length, header)) => {
            assert_eq!(length, first, "a header ends with the byte that makes it whole");
            assert_eq!(whole, Ok(Parsed::Complete(length, header)));
            let most = match header.version {
                Version::One => V1_BYTES_MAX,
                Version::Two => V2_BYTES_MAX,
            };
            assert!(length <= most);
            if let Some(addresses) = header.addresses {
                let again = written(header.version, addresses);
                assert_eq!(parse(&again), Ok(Parsed::Complete(again.len(), header)));
                if header.version == Version::Two {
                    // All but the length, and the extensions behind it.
                    assert_eq!(again[..14], data[..14]);
                    assert_eq!(again[16..], data[16..again.len()]);
                }
            }
        }
        // A shorter piece may be wrong in another way than the whole, but never right again.
        Err(_) => assert!(whole.is_err(), "right again: {whole:?}"),
    }
});
