//! The session against rustls's own client, in memory: whole, cut anywhere, and broken anywhere.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::config::Certified;
use super::session::TlsSession;
use crate::settings::TlsFiles;

/// The configurations of both sides of a test.
struct Pair {
    server: Arc<ServerConfig>,
    root: CertificateDer<'static>,
}

/// How what the client sends gets to the session.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Bytes at a time.
    piece: usize,
    /// A byte that is changed on the way, and how; by its number from the first of the connection.
    broken: Option<(usize, u8)>,
    /// Room of each read.
    room: usize,
}

const WHOLE: Way = Way { piece: usize::MAX, broken: None, room: 4096 };

impl Pair {
    fn new() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let files = TlsFiles { certificates: vec![certificate], keys: vec![key] };
        let server = Certified::load(&files).unwrap().config().unwrap();
        Pair { server, root: made.cert.der().clone() }
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
    }
}

/// A conversation: the client sends `request`, the session answers with `response` once it has all of it. What each got
/// comes back, or what the session did not like.
fn converse(
    mut client: ClientConnection,
    mut session: TlsSession,
    way: Way,
    request: &[u8],
    response: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), rustls::Error> {
    let (mut asked, mut answered, mut passed) = (Vec::new(), Vec::new(), 0);
    let (mut sealed, mut is_established) = (0, false);
    client.set_buffer_limit(None);
    client.writer().write_all(request).unwrap();
    loop {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        let idle = records.is_empty() && session.outgoing().is_empty();
        let piece = way.piece.min(records.len().max(1));
        for record in records.chunks_mut(piece) {
            if let Some((at, change)) = way.broken
                && (passed..passed + record.len()).contains(&at)
            {
                record[at - passed] ^= change;
            }
            passed += record.len();
            let mut incoming = session.take_incoming().expect("no more than a peer may send");
            incoming.extend_from_slice(record);
            session.restore_incoming(incoming, record.len());
            if !is_established {
                session.shake_hands()?;
                is_established = session.is_established();
            }
            if is_established {
                asked.extend(read_all(&mut session, way.room)?);
            }
        }
        if is_established && asked.len() == request.len() && session.outgoing().is_empty() {
            if sealed < response.len() {
                sealed += session.seal(&response[sealed..])?;
            } else if idle {
                session.say_goodbye();
            }
        }
        let mut outgoing = session.outgoing();
        let sent = outgoing.len();
        while !outgoing.is_empty() {
            client.read_tls(&mut outgoing).unwrap();
            let state = client.process_new_packets()?;
            let mut some = vec![0; state.plaintext_bytes_to_read()];
            client.reader().read_exact(&mut some).unwrap();
            answered.extend_from_slice(&some);
            if state.peer_has_closed() {
                return Ok((asked, answered));
            }
        }
        session.sent(sent);
        if idle && sent == 0 {
            return Ok((asked, answered));
        }
    }
}

/// All that can be read, in reads with so much room.
fn read_all(session: &mut TlsSession, room: usize) -> Result<Vec<u8>, rustls::Error> {
    let mut all = Vec::new();
    loop {
        let mut storage = Vec::with_capacity(room);
        let read = session.read(&mut storage)?;
        assert_eq!(read, storage.len());
        if read == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&storage);
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

#[test]
fn what_is_sent_arrives_whole_however_it_is_cut() {
    let pair = Pair::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (piece, room, request, response) in [
            (usize::MAX, 4096, 100, 100),
            (1, 4096, 1000, 1000),
            (7, 1, 20_000, 0),
            (1 << 14, 100, 100_000, 300_000),
            (usize::MAX, 1 << 20, 1 << 18, 1 << 18),
        ] {
            let way = Way { piece, room, ..WHOLE };
            let session = TlsSession::new(Arc::clone(&pair.server)).unwrap();
            let (request, response) = (bytes(request), bytes(response));
            let (asked, answered) =
                converse(pair.client(version), session, way, &request, &response).unwrap();
            assert!(asked == request && answered == response, "{version:?} {way:?}");
        }
    }
}

#[test]
fn a_quiet_session_holds_no_buffer() {
    let pair = Pair::new();
    let mut session = TlsSession::new(Arc::clone(&pair.server)).unwrap();
    let mut client = pair.client(&rustls::version::TLS13);
    for _ in 0..4 {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        let mut incoming = session.take_incoming().unwrap();
        incoming.extend_from_slice(&records);
        session.restore_incoming(incoming, records.len());
        session.shake_hands().unwrap();
        let sent = session.outgoing().len();
        client.read_tls(&mut session.outgoing()).unwrap();
        client.process_new_packets().unwrap();
        session.sent(sent);
    }
    assert!(session.is_established());
    assert_eq!(session.read(&mut Vec::with_capacity(16)), Ok(0));
    assert_eq!(session.held_bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A byte that is changed anywhere is noticed, or it is one that nobody looks at; nothing else than what was sent
    /// arrives, and nothing panics.
    #[test]
    fn what_is_broken_on_the_way_never_arrives(
        at in 0usize..2500, change in 1u8.., piece in 1usize..3000, tls13 in any::<bool>()
    ) {
        thread_local! {
            static PAIR: Pair = Pair::new();
        }
        let version = if tls13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        let (client, server) = PAIR.with(|pair| (pair.client(version), Arc::clone(&pair.server)));
        let session = TlsSession::new(server).unwrap();
        let way = Way { piece, broken: Some((at, change)), room: 512 };
        let (request, response) = (bytes(1500), bytes(1500));
        if let Ok((asked, answered)) = converse(client, session, way, &request, &response) {
            prop_assert!(request.starts_with(&asked) && response.starts_with(&answered));
        }
    }
}
