//! The seal of a `replyId`: a place (core, slot, generation) becomes text that cannot be guessed, and back.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::base::id::Id;
use crate::base::slots::Key;

/// Turns a place into the part of a `replyId` that follows the webhook's id, and back.
///
/// The place and the tail of the webhook's id are one AES block under a key of this process: without the key nobody can
/// tell two ids apart or make one that opens to a place (6 of the block's 16 bytes must be right, and the generation must
/// be the slot's own).
///
/// On a node of a cluster the name of the node follows, so that any other node knows where to pass a reply on.
pub(crate) struct Seal {
    cipher: Aes128,
    node: Option<Id>,
}

/// Destination of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) core: u16,
    pub(crate) key: Key,
    pub(crate) webhook: Id,
}

/// Characters of a `replyId`: 24 of the webhook's id, a dot, 16 bytes in base64url.
const REPLY_ID_LENGTH: usize = 24 + 1 + 22;
/// Characters of the name of a node behind it: a dot, 12 bytes in base64url.
const NODE_LENGTH: usize = 1 + 16;

impl Seal {
    /// A seal with a key of its own.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(crate) fn new(node: Option<Id>) -> Result<Seal, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Seal { cipher: Aes128::new(&key.into()), node })
    }

    /// Returns the `replyId` of a place.
    pub(crate) fn close(&self, place: &Place) -> String {
        let mut block = [0; 16];
        block[..2].copy_from_slice(&place.core.to_le_bytes());
        block[2..6].copy_from_slice(&place.key.index.to_le_bytes());
        block[6..10].copy_from_slice(&place.key.generation.to_le_bytes());
        block[10..].copy_from_slice(&place.webhook.raw()[6..]);
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        let mut text = String::with_capacity(REPLY_ID_LENGTH + NODE_LENGTH);
        text.extend(place.webhook.digits().map(char::from));
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(block, &mut text);
        if let Some(node) = &self.node {
            text.push('.');
            BASE64_URL_SAFE_NO_PAD.encode_string(node.raw(), &mut text);
        }
        text
    }

    /// The node of a cluster that made a `replyId`, if it is another one than this.
    pub(crate) fn other_node(&self, reply_id: &str) -> Option<Id> {
        let (_, node) = split_node(reply_id);
        node.filter(|node| self.node.is_some_and(|own| own != *node))
    }

    /// Returns the place of a `replyId`; `None` if this process never made it.
    pub(crate) fn open(&self, reply_id: &str) -> Option<Place> {
        let (reply_id, node) = split_node(reply_id);
        if reply_id.len() != REPLY_ID_LENGTH || node != self.node {
            return None;
        }
        let (webhook, sealed) = reply_id.split_once('.')?;
        // One spelling: capital digits would be a second.
        let webhook = Id::from_bytes(webhook.as_bytes()).filter(|id| id.digits() == webhook.as_bytes())?;
        let mut block = [0; 16];
        if BASE64_URL_SAFE_NO_PAD.decode_slice(sealed, &mut block) != Ok(block.len()) {
            return None;
        }
        let mut block = block.into();
        self.cipher.decrypt_block(&mut block);
        if block[10..] != webhook.raw()[6..] {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let core = u16::from_le_bytes([block[0], block[1]]);
        Some(Place { core, key: Key { index: word(2), generation: word(6) }, webhook })
    }
}

/// Splits a `replyId` into the sealed part and the name of the node behind it, if there is one.
fn split_node(reply_id: &str) -> (&str, Option<Id>) {
    let split =
        (reply_id.len() == REPLY_ID_LENGTH + NODE_LENGTH).then(|| reply_id.split_at_checked(REPLY_ID_LENGTH));
    let Some((sealed, node)) = split.flatten() else { return (reply_id, None) };
    let mut raw = [0; 12];
    match node.strip_prefix('.').map(|node| BASE64_URL_SAFE_NO_PAD.decode_slice(node, &mut raw)) {
        Some(Ok(12)) => (sealed, Some(Id::from_raw(raw))),
        _ => (reply_id, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_place_opens_to_itself_and_to_nothing_else() {
        let seal = Seal::new(None).unwrap();
        let webhook: Id = "0123456789abcdef01234567".parse().unwrap();
        let place = Place { core: 3, key: Key { index: 70_000, generation: 9 }, webhook };
        let id = seal.close(&place);
        assert_eq!(id.len(), REPLY_ID_LENGTH);
        assert_eq!(seal.open(&id), Some(place));
        assert_eq!(Seal::new(None).unwrap().open(&id), None, "another process's key");
        for at in 0..id.len() {
            let mut bad = id.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            // The last character carries two bits that a lenient reader would drop.
            assert!(at + 1 == id.len() || seal.open(&bad).is_none_or(|found| found != place), "{bad}");
        }
    }

    #[test]
    fn the_id_of_a_clusters_node_names_it_and_is_opened_there_alone() {
        let (one, two) = (Id::from_raw([1; 12]), Id::from_raw([2; 12]));
        let seal = Seal::new(Some(one)).unwrap();
        let place = Place { core: 3, key: Key { index: 7, generation: 9 }, webhook: Id::from_raw([5; 12]) };
        let id = seal.close(&place);
        assert_eq!(id.len(), REPLY_ID_LENGTH + NODE_LENGTH);
        assert_eq!((seal.open(&id), seal.other_node(&id)), (Some(place), None));
        let other = Seal::new(Some(two)).unwrap();
        assert_eq!((other.open(&id), other.other_node(&id)), (None, Some(one)));
        let alone = Seal::new(None).unwrap();
        assert_eq!((alone.open(&id), alone.other_node(&id)), (None, None));
        for bad in [&id[..REPLY_ID_LENGTH], &id[..id.len() - 1], &format!("{}é", &id[..id.len() - 2]), ""] {
            assert_eq!((other.open(bad), other.other_node(bad)), (None, None), "{bad}");
        }
    }
}
