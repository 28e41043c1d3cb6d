//! The two kinds of names that the outside knows things by: an [`Id`] for a resource, a [`Token`] for a webhook's URL.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::text::{hex_decode_slice, hex_digits};

/// Bytes of an id.
pub const ID_BYTES: usize = 12;
/// Hex digits of an id (the platform's ids are 24 hex digits).
pub const ID_DIGITS: usize = 2 * ID_BYTES;
/// Characters of a token that is made here, and bytes of any token's key: 30 random bytes are 40 characters of base64url
/// without padding.
pub const TOKEN_CHARACTERS: usize = 40;
/// Characters of a token that is given ([verification](crate::guide::verification#who-may-call)).
pub const TOKEN_CHARACTERS_MIN: usize = 8;
/// Characters of a token that is given ([verification](crate::guide::verification#who-may-call)).
pub const TOKEN_CHARACTERS_MAX: usize = 128;
/// Random bytes behind a token.
const TOKEN_BYTES: usize = 30;

/// The name of a resource: 12 bytes, written as 24 lower-case hex digits.
///
/// A generated one begins with its time in seconds, so that ids sort roughly by creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; ID_BYTES]);

/// A text that is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be 24 hex digits")
    }
}

impl std::error::Error for NotAnId {}

impl Id {
    /// A new id: four bytes of seconds since 1970, eight random ones.
    ///
    /// # Panics
    /// If the system has no random bytes to give.
    #[must_use]
    pub fn generate(now_unix_millis: u64) -> Id {
        let seconds = u32::try_from(now_unix_millis / 1000).unwrap_or(u32::MAX);
        let mut bytes = [0; ID_BYTES];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        getrandom::fill(&mut bytes[4..]).expect("the system gives random bytes");
        Id(bytes)
    }

    /// The id of these bytes.
    #[must_use]
    pub const fn from_raw(bytes: [u8; ID_BYTES]) -> Id {
        Id(bytes)
    }

    /// The bytes of this id.
    #[must_use]
    pub const fn raw(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// Reads 24 hex digits of any case; nothing else is an id.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Id> {
        if text.len() != ID_DIGITS {
            return None;
        }
        let mut bytes = [0; ID_BYTES];
        hex_decode_slice(&mut bytes, text).then_some(Id(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// The 24 lower-case hex digits.
    #[must_use]
    pub fn digits(&self) -> [u8; ID_DIGITS] {
        let mut digits = [0; ID_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&hex_digits(byte));
        }
        digits
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        f.pad(std::str::from_utf8(&digits).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Id, NotAnId> {
        Id::from_bytes(text.as_bytes()).ok_or(NotAnId)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The text of a token: the secret part of a URL, 8 to 128 base64url characters; 40 where it is made here.
///
/// It lets whoever knows it call what it names, so `Debug` does not show it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Box<str>);

impl TokenText {
    /// A new token from 30 random bytes.
    ///
    /// # Panics
    /// If the system has no random bytes to give.
    #[must_use]
    pub fn generate() -> TokenText {
        use base64::Engine as _;
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        TokenText(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Reads 8 to 128 base64url characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<TokenText> {
        Token::from_bytes(text.as_bytes()).map(|_| TokenText(text.into()))
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token, by which the registry finds the hook.
    #[must_use]
    pub fn key(&self) -> Token {
        Token::of_clean(self.0.as_bytes())
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl Serialize for TokenText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TokenText, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        TokenText::parse(&text).ok_or_else(|| D::Error::custom("must be 8 to 128 base64url characters"))
    }
}

/// A token as it is found: 40 bytes whatever the length of its text, and no allocation.
///
/// A text of up to 40 characters is here as it is, followed by zeros. A longer one is [`LONG`], its length, and its
/// SHA-256. Neither byte is a character of a token, so that no two texts are the same key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token([u8; TOKEN_CHARACTERS]);

/// Whether a character may stand in a token.
#[inline]
fn is_clean(character: &u8) -> bool {
    character.is_ascii_alphanumeric() | (*character == b'-') | (*character == b'_')
}

/// The first byte of the key of a text that is longer than a key.
const LONG: u8 = 0xff;

impl Token {
    /// Reads 8 to 128 base64url characters.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Token> {
        if let Ok(characters) = <[u8; TOKEN_CHARACTERS]>::try_from(text) {
            return Token::from_made(characters);
        }
        let is_token =
            (TOKEN_CHARACTERS_MIN..=TOKEN_CHARACTERS_MAX).contains(&text.len()) && text.iter().all(is_clean);
        is_token.then(|| Token::of_clean(text))
    }

    /// Reads as many base64url characters as a token that is made here has.
    #[must_use]
    #[inline]
    pub fn from_made(characters: [u8; TOKEN_CHARACTERS]) -> Option<Token> {
        // Without a way out of the loop it is done sixteen characters at a time.
        let clean = characters.iter().fold(true, |clean, c| clean & is_clean(c));
        clean.then_some(Token(characters))
    }

    fn of_clean(text: &[u8]) -> Token {
        let mut key = [0; TOKEN_CHARACTERS];
        if let Some(start) = key.get_mut(..text.len()) {
            start.copy_from_slice(text);
        } else {
            let digest = digest(&SHA256, text);
            key[0] = LONG;
            key[1] = u8::try_from(text.len()).unwrap_or(u8::MAX);
            key[2..2 + SHA256_OUTPUT_LEN].copy_from_slice(digest.as_ref());
        }
        Token(key)
    }

    /// Number of characters of the text.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self.0 {
            [LONG, length, ..] => usize::from(length),
            [.., last] if last != 0 => TOKEN_CHARACTERS,
            _ => self.0.iter().position(|byte| *byte == 0).unwrap_or(TOKEN_CHARACTERS),
        }
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TOKEN_CHARACTERS] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_any_case_and_written_in_lower_case() {
        let id: Id = "65A1B2c3d4E5f60718293A4b".parse().unwrap();
        assert_eq!(id.to_string(), "65a1b2c3d4e5f60718293a4b");
        assert_eq!(format!("{id:?}"), "Id(65a1b2c3d4e5f60718293a4b)");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"65a1b2c3d4e5f60718293a4b\"");
        assert_eq!(serde_json::from_str::<Id>("\"65a1b2c3d4e5f60718293a4b\"").unwrap(), id);
    }

    #[test]
    fn what_is_not_24_hex_digits_is_no_id() {
        for text in [
            "",
            "65a1b2c3d4e5f60718293a4",
            "65a1b2c3d4e5f60718293a4bb",
            "65a1b2c3d4e5f60718293a4g",
            "+5a1b2c3d4e5f60718293a4b",
        ] {
            assert_eq!(text.parse::<Id>(), Err(NotAnId), "{text}");
        }
        assert!(serde_json::from_str::<Id>("7").is_err());
    }

    #[test]
    fn a_generated_id_begins_with_its_second() {
        let id = Id::generate(0x65a1_b2c3_u64 * 1000 + 999);
        assert!(id.to_string().starts_with("65a1b2c3"));
        assert_ne!(id, Id::generate(0x65a1_b2c3_u64 * 1000 + 999));
    }

    #[test]
    fn a_token_that_is_made_is_40_base64url_characters_and_not_shown() {
        let token = TokenText::generate();
        assert_eq!(token.as_str().len(), TOKEN_CHARACTERS);
        assert_ne!(token, TokenText::generate());
        assert_eq!(
            (format!("{token:?}"), format!("{:?}", token.key())),
            ("TokenText(…)".into(), "Token(…)".into())
        );
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<TokenText>(&text).unwrap(), token);
    }

    #[test]
    fn a_token_has_8_to_128_characters_and_a_key_of_its_own() {
        let mut keys = Vec::new();
        for length in TOKEN_CHARACTERS_MIN..=TOKEN_CHARACTERS_MAX {
            let text = "aB3-_".repeat(26)[..length].to_owned();
            let token = TokenText::parse(&text).unwrap();
            assert_eq!(token.as_str(), text);
            assert_eq!(Token::from_bytes(text.as_bytes()), Some(token.key()));
            assert_eq!(token.key().text_len(), length);
            keys.push(token.key());
        }
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn what_is_no_token_has_no_key() {
        let long = "a".repeat(129);
        for bad in
            ["", "seven77", &long, "a b c d e", "abcdefg/", "abcdefg+", "abcdefg=", "abcdefg\0", "abcdefgü"]
        {
            assert_eq!(Token::from_bytes(bad.as_bytes()), None, "{bad:?}");
            assert_eq!(TokenText::parse(bad), None, "{bad:?}");
        }
        for byte in [b'+', b'=', b'/', 0, 0xff, 0xc3] {
            for length in [8, 39, 40, 41, 128] {
                let mut text = vec![b'a'; length];
                text[length - 1] = byte;
                assert_eq!(Token::from_bytes(&text), None, "{byte} {length}");
            }
        }
    }
}
