//! A dead letter as it is stored: one value of the table `letters`.

use serde::{Deserialize, Serialize};

/// A delivery that was given up, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Names the delivery, as `webhook-id` did in each attempt.
    pub id: String,
    pub webhook: String,
    pub node: String,
    /// Name of the reason.
    pub reason: String,
    pub attempts: u32,
    pub accepted_unix_millis: u64,
    pub died_unix_millis: u64,
    /// Status of the last answer, if there was one.
    pub status: Option<u16>,
    /// The error of the last attempt.
    pub error: Option<String>,
    /// Beginning of the last answer.
    pub answer: Option<String>,
}

/// A dead letter with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeLetter {
    pub letter: Letter,
    /// The payload, as JSON.
    pub payload: Vec<u8>,
    /// The event in the form that it is delivered again from.
    pub event: Vec<u8>,
}

/// The value of a letter, in its parts.
pub(super) struct Stored<'a> {
    pub(super) place: u64,
    pub(super) letter: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) event: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(super) fn write(place: u64, whole: &WholeLetter) -> Result<Vec<u8>, serde_json::Error> {
        let letter = serde_json::to_vec(&whole.letter)?;
        let mut value = place.to_le_bytes().to_vec();
        for part in [&letter, &whole.payload] {
            value.extend_from_slice(&(part.len() as u32).to_le_bytes());
            value.extend_from_slice(part);
        }
        value.extend_from_slice(&whole.event);
        Ok(value)
    }

    pub(super) fn read(value: &'a [u8]) -> Option<Stored<'a>> {
        let (place, rest) = value.split_first_chunk()?;
        let part = |rest: &'a [u8]| -> Option<(&'a [u8], &'a [u8])> {
            let (length, rest) = rest.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        };
        let (letter, rest) = part(rest)?;
        let (payload, event) = part(rest)?;
        Some(Stored { place: u64::from_le_bytes(*place), letter, payload, event })
    }
}
