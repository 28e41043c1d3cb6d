//! Masking: what of a head holds a credential is written as `***`.

/// Written in the place of a credential.
const MASK: &[u8] = b"***";
/// Fields that hold credentials, whatever the webhook.
const CREDENTIAL_FIELDS: [&[u8]; 3] = [b"authorization", b"cookie", b"proxy-authorization"];

/// Appends the field lines of a head as they were received, without the empty line that ends it. `head` begins with the
/// first field line; `hidden` is a further field that holds a credential.
pub(super) fn fields_into(out: &mut Vec<u8>, head: &[u8], hidden: Option<&str>) {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        let Some(colon) = memchr::memchr(b':', line) else {
            // The empty line. A line without a colon was refused before.
            return;
        };
        let name = &line[..colon];
        let is_hidden = CREDENTIAL_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known))
            || hidden.is_some_and(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()));
        if is_hidden {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(MASK);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(line);
        }
    }
}
