//! NKeys and JWTs of NATS, made for the tests: an operator, an account, and a user with a credentials file.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// First bytes of keys, which make their first letter.
pub const OPERATOR: u8 = 14 << 3;
pub const ACCOUNT: u8 = 0;
pub const USER: u8 = 20 << 3;
const SEED: u8 = 18 << 3;

/// A key and its texts.
pub struct NKey {
    pair: Ed25519KeyPair,
    pub public: String,
    pub seed: String,
}

impl NKey {
    /// A key of this kind; another `number` gives another one.
    pub fn new(kind: u8, number: u8) -> NKey {
        let bytes = [number; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).expect("a seed");
        let public = base32(&checked([&[kind], pair.public_key().as_ref()].concat()));
        let start = [SEED | (kind >> 5), (kind & 31) << 3];
        NKey { pair, public, seed: base32(&checked([&start[..], &bytes].concat())) }
    }

    /// A JWT about another key, signed by this one.
    pub fn jwt(&self, subject: &NKey, claims: Value) -> String {
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = json!({"jti": "x", "iat": 1_700_000_000, "iss": self.public, "name": "tests",
            "sub": subject.public, "nats": claims});
        let signed = format!("{}.{}", part(json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(payload));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

/// Appends the CRC-16 (XMODEM).
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut crc = 0_u16;
    for byte in &bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(DIGITS[(bits >> count) as usize & 31]));
        }
    }
    if count > 0 {
        text.push(char::from(DIGITS[(bits << (5 - count)) as usize & 31]));
    }
    text
}
