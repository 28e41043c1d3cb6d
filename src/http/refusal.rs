//! Why a request is refused: one variant for each rule, with the status it deserves.

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $variant:ident => $status:literal, $name:literal, $message:literal;)*) => {
        /// A rule that the peer broke. The connection ends with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $($(#[doc = $doc])* $variant,)* }

        impl Refusal {
            /// Every one, for tables and tests.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)*];

            /// The status of the answer.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Refusal::$variant => $status,)* }
            }

            /// A short name in snake case, for metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name,)* }
            }

            /// The message for the caller.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Refusal::$variant => $message,)* }
            }
        }
    };
}

refusals! {
    /// RFC 9112, 2.2: a line ends with CRLF.
    BareLf => 400, "bare_lf", "A line ends with LF alone; lines end with CRLF";
    /// RFC 9112, 2.2: a CR stands before an LF and nowhere else.
    BareCr => 400, "bare_cr", "A CR stands alone; lines end with CRLF";
    /// RFC 9112, 2.2: one empty line before a request is forgiven, a second is not.
    EmptyLines => 400, "empty_lines", "More than one empty line stands before the request line";
    /// RFC 9112, 3: method, one space, target, one space, version.
    RequestLine => 400, "request_line", "The request line must be a method, a target and a version with one space between";
    /// RFC 9110, 9.1: a method is a token.
    MethodName => 400, "method", "The method must be a token of at most 32 characters";
    /// RFC 9112, 3.2: what a target may be.
    Target => 400, "target", "The request target must be an absolute path, an http or https URL, or * for OPTIONS, with other characters than a URL has percent-encoded";
    /// A target over 8 KiB ([limits and refusals](crate::guide::limits_and_refusals#limits)).
    TargetTooLong => 414, "target_too_long", "The request target is too long";
    /// RFC 9112, 2.3: another version than 1.0 and 1.1.
    VersionUnsupported => 505, "version", "Only HTTP/1.0 and HTTP/1.1 are spoken here";
    /// RFC 9112, 5: a field line is a name, a colon and a value, in the characters that each may have.
    FieldLine => 400, "field_line", "A header line must be a name, a colon directly after it, and a value without control characters";
    /// RFC 9112, 5.2: a line that begins with white space.
    ObsFold => 400, "obs_fold", "A header line begins with white space; folded lines are not taken";
    /// A head over 16 KiB.
    HeadTooLarge => 431, "head_too_large", "The request head is too large";
    /// A head of over 100 fields.
    TooManyFields => 431, "too_many_fields", "The request has too many header fields";
    /// RFC 9112, 3.2: a 1.1 request has a Host.
    HostMissing => 400, "host_missing", "A Host header is required";
    /// RFC 9112, 3.2: and only one.
    HostRepeated => 400, "host_repeated", "More than one Host header";
    /// RFC 9112, 3.2: a host and perhaps a port.
    HostInvalid => 400, "host_invalid", "The host must be a name or an address, perhaps with a port";
    /// RFC 9112, 6.3: digits that fit.
    LengthInvalid => 400, "length_invalid", "Content-Length must be a decimal number";
    /// RFC 9112, 6.3: one length only.
    LengthRepeated => 400, "length_repeated", "More than one Content-Length";
    /// RFC 9112, 6.1: never both.
    LengthAndChunked => 400, "length_and_chunked", "Content-Length and Transfer-Encoding exclude each other";
    /// RFC 9112, 6.1: not in HTTP/1.0.
    CodingInHttp10 => 400, "coding_in_http10", "Transfer-Encoding is not part of HTTP/1.0";
    /// RFC 9112, 6.3: without `chunked` at its end the body of a request has no end.
    CodingNotFinal => 400, "coding_not_final", "Transfer-Encoding must end in chunked";
    /// RFC 9112, 6.1: chunked once. A list with empty members is refused too: other servers read it differently.
    CodingRepeated => 400, "coding_repeated", "Transfer-Encoding must be chunked, once";
    /// Another coding before chunked ([HTTP requests](crate::guide::http_requests#steps)).
    CodingUnsupported => 501, "coding_unsupported", "The only Transfer-Encoding taken is chunked";
    /// RFC 9110, 10.1.1: another expectation than 100-continue.
    Expectation => 417, "expectation", "The only expectation met is 100-continue";
    /// RFC 9112, 7.1: hexadecimal digits, nothing else.
    ChunkSize => 400, "chunk_size", "A chunk size must be 1 to 16 hexadecimal digits";
    /// RFC 9112, 7.1.1.
    ChunkExtension => 400, "chunk_extension", "A chunk extension must be a name, perhaps with = and a token or quoted string";
    /// RFC 9112, 7.1: a chunk's data is followed by CRLF.
    ChunkEnd => 400, "chunk_end", "A chunk is longer than its size says";
    /// RFC 9112, 7.1.2.
    Trailer => 400, "trailer", "A trailer line must be a name, a colon and a value";
    /// Extensions and trailers over 16 KiB.
    ChunkOverhead => 431, "chunk_overhead", "Chunk extensions and trailers are too large";
}
