//! Why a connection was failed (RFC 6455 section 7.1.7), and the Close that says so.

use std::fmt;

/// The violation by the peer that ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A reserved bit that nothing agreed on gives a meaning (RFC 6455 section 5.2).
    ReservedBits,
    /// An opcode that means nothing (RFC 6455 section 5.2).
    ReservedOpcode,
    /// A control frame without FIN (RFC 6455 section 5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 section 5.5).
    LongControl,
    /// A client's frame without a mask (RFC 6455 section 5.1).
    NotMasked,
    /// A server's frame with a mask (RFC 6455 section 5.1).
    Masked,
    /// A length in more bytes than it needs (RFC 6455 section 5.2).
    LengthNotMinimal,
    /// A length whose most significant bit is set (RFC 6455 section 5.2).
    LengthHighBit,
    /// A continuation of no message (RFC 6455 section 5.4).
    NothingToContinue,
    /// A new message within an unfinished one (RFC 6455 section 5.4).
    MessageUnfinished,
    /// A Close whose payload is half a code (RFC 6455 section 5.5.1).
    CloseOfOneByte,
    /// A Close with a code that may not be sent (RFC 6455 section 7.4).
    CloseCode,
    /// A Close whose reason is not UTF-8 (RFC 6455 section 5.5.1).
    CloseReason,
    /// Text that is not UTF-8 (RFC 6455 section 8.1).
    BadUtf8,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    BadDeflate,
    /// A message over the limit, by its frames' lengths or as inflated.
    TooLarge,
}

impl Failure {
    /// The status code of the Close that tells the peer (RFC 6455 section 7.4.1). A message that is too large is
    /// 1008, as the platform's clients know it, not 1009.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Failure::BadUtf8 | Failure::CloseReason | Failure::BadDeflate => 1007,
            Failure::TooLarge => 1008,
            _ => 1002,
        }
    }

    /// The reason of that Close.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Failure::ReservedBits => "Reserved bit set",
            Failure::ReservedOpcode => "Unknown opcode",
            Failure::FragmentedControl => "Fragmented control frame",
            Failure::LongControl => "Control frame over 125 bytes",
            Failure::NotMasked => "Frame not masked",
            Failure::Masked => "Frame masked",
            Failure::LengthNotMinimal => "Frame length not minimal",
            Failure::LengthHighBit => "Frame length out of range",
            Failure::NothingToContinue => "Continuation without a message",
            Failure::MessageUnfinished => "New message before the last one ended",
            Failure::CloseOfOneByte => "Close payload of one byte",
            Failure::CloseCode => "Invalid close code",
            Failure::CloseReason => "Close reason not UTF-8",
            Failure::BadUtf8 => "Text not UTF-8",
            Failure::BadDeflate => "Compressed data invalid",
            Failure::TooLarge => "Message too large",
        }
    }

    /// A name for counters, one for each code that is sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.code() {
            1007 => "bad_payload",
            1008 => "too_large",
            _ => "protocol_error",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_by_the_code_that_tells_of_it() {
        use Failure::{BadDeflate, BadUtf8, CloseReason, Masked, TooLarge};
        for (failure, code, name) in [
            (BadUtf8, 1007, "bad_payload"),
            (CloseReason, 1007, "bad_payload"),
            (BadDeflate, 1007, "bad_payload"),
            (TooLarge, 1008, "too_large"),
            (Masked, 1002, "protocol_error"),
        ] {
            assert_eq!((failure.code(), failure.name()), (code, name), "{failure}");
        }
        assert_eq!(TooLarge.to_string(), "Message too large");
    }
}
