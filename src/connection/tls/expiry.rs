//! The end of a certificate's validity, read from its DER (RFC 5280, section 4.1). For people and their monitoring only:
//! clients check certificates, the server does not.

use crate::base::text::parse_time;

const SEQUENCE: u8 = 0x30;
/// `[0]`: the version, which a certificate of version 1 does not have.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of validity in seconds since 1970; `None` for what is not a certificate.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut to_be_signed, _) = element(certificate, SEQUENCE)?;
    if to_be_signed.first() == Some(&VERSION) {
        skip(&mut to_be_signed)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        skip(&mut to_be_signed)?;
    }
    let (mut validity, _) = element(to_be_signed, SEQUENCE)?;
    skip(&mut validity)?;
    let kind = *validity.first()?;
    let (text, _) = element(validity, kind)?;
    seconds(kind, str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn seconds(kind: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (century, digits) = match kind {
        // Two digits from 50 on are of the twentieth century.
        UTC_TIME if digits.len() == 12 => (if digits >= "50" { "19" } else { "20" }, digits),
        GENERALIZED_TIME if digits.len() == 14 => digits.split_at(2),
        _ => return None,
    };
    let part = |at: usize| &digits[at..at + 2];
    let time = format!("{century}{}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8), part(10));
    parse_time(&time).map(|millis| millis.div_euclid(1000))
}

/// The content of the element at the front, which must have this tag, and what follows it (X.690, section 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        let (bytes, after) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    rest.split_at_checked(length)
}

/// Passes over the element at the front.
fn skip(der: &mut &[u8]) -> Option<()> {
    let (_, rest) = element(der, *der.first()?)?;
    *der = rest;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 3, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        // Python: datetime(2030, 3, 1, tzinfo=utc).timestamp(), and of 2060.
        assert_eq!(not_after(&certificate(2030)), Some(1_898_553_600));
        assert_eq!(not_after(&certificate(2060)), Some(2_845_324_800));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(2030);
        for end in 0..whole.len().min(120) {
            let _ = not_after(&whole[..end]);
        }
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"text"] {
            assert_eq!(not_after(bytes), None);
        }
        assert_eq!(seconds(UTC_TIME, "300301000000Z"), Some(1_898_553_600));
        assert_eq!(seconds(UTC_TIME, "991231235959Z"), Some(946_684_799));
        for text in ["", "3003010000Z", "300301000000", "30030100000aZ", "301301000000Z"] {
            assert_eq!(seconds(UTC_TIME, text), None, "{text}");
        }
    }
}
