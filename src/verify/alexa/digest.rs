//! The two digests that Amazon signs.

/// The digest that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `Signature`.
    Sha1,
    /// `Signature-256`.
    Sha256,
}

impl Digest {
    /// The field that carries a signature of it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Digest::Sha1 => "Signature",
            Digest::Sha256 => "Signature-256",
        }
    }
}
