//! A secret as the hot path needs it: a digest to compare with, of one size whatever the secret's length.
//!
//! Digests instead of the texts themselves, so that a comparison reads the same 32 bytes whatever differs, and a
//! webhook keeps 32 bytes for a credential of any length.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// How long the answer to a wrong access token waits: too short to notice once, too long to guess with.
pub(crate) const GUESS_DELAY: Duration = Duration::from_millis(250);

/// The secret that a presented one must equal. An empty credential is stored as one that nothing equals: an empty
/// secret would admit every caller.
#[derive(Clone)]
pub struct Expected {
    digest: Option<Box<[u8; SHA256_OUTPUT_LEN]>>,
}

impl Expected {
    /// Equal to exactly these bytes; to nothing at all where there are none.
    #[must_use]
    pub fn secret(secret: &[u8]) -> Expected {
        if secret.is_empty() {
            Expected::nothing()
        } else {
            Expected { digest: Some(Box::new(sha256(secret))) }
        }
    }

    /// Equal to nothing: refuses everything.
    #[must_use]
    pub fn nothing() -> Expected {
        Expected { digest: None }
    }

    /// Whether both are equal to the same. For noticing a change; no secret is presented here.
    #[must_use]
    pub fn is_same(&self, other: &Expected) -> bool {
        self.digest == other.digest
    }

    /// Whether `presented` is the secret. The time depends on the length of `presented` alone.
    #[must_use]
    pub fn equals(&self, presented: &[u8]) -> bool {
        let presented = sha256(presented);
        match &self.digest {
            Some(expected) => verify_slices_are_equal(&expected[..], &presented).is_ok(),
            None => false,
        }
    }
}

/// Shows nothing of the secret, its digest included.
impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.digest.is_some() { "Expected(…)" } else { "Expected(nothing)" })
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_equals_itself_and_nothing_else() {
        let secret = Expected::secret(b"correct horse");
        assert!(secret.equals(b"correct horse"));
        for other in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse", &[0; 32]] {
            assert!(!secret.equals(other));
        }
    }

    #[test]
    fn an_empty_secret_equals_nothing_not_even_the_empty_text() {
        assert!(!Expected::secret(b"").equals(b""));
        assert!(!Expected::nothing().equals(b""));
        assert!(!Expected::nothing().equals(&[0; 32]));
    }

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Expected::secret(b"hunter2")), "Expected(…)");
    }
}
