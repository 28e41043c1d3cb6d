//! Basic authentication (RFC 7617) as a webhook asks for it ([verification](crate::guide::verification#verification)).

use crate::verify::fields::credentials;
use crate::verify::secret::Expected;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;

/// The scheme's name; compared without case, as RFC 9110, section 11.1 has it.
const SCHEME: &[u8] = b"basic";

/// The standard alphabet (RFC 7617, section 2). Padding may be left out, as some clients do; anything else that is
/// not canonical is refused.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decoded credentials up to this size take no allocation; two fields of 255 bytes and a colon fit.
const INLINE_BYTES: usize = 512;

/// One of the two credentials of a webhook, after rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialField<'a> {
    /// The webhook's field is blank: there is nothing to render.
    Blank,
    /// The text that the field's template rendered. Empty means that the template found nothing, which refuses
    /// everything.
    Rendered(&'a str),
}

/// The value that the `Authorization` field of a request must have. 8 bytes and one allocation.
#[derive(Clone, Debug)]
pub struct Basic {
    /// The user-pass of RFC 7617: `<username>:<password>`.
    user_pass: Expected,
}

impl Basic {
    /// Whether both let the same callers in.
    #[must_use]
    pub fn is_same(&self, other: &Basic) -> bool {
        self.user_pass.is_same(&other.user_pass)
    }

    /// `None` where both fields are blank: the webhook has no basic authentication. One blank field matches the
    /// empty string. A field that has a template but renders empty refuses everything.
    #[must_use]
    pub fn compile(username: CredentialField<'_>, password: CredentialField<'_>) -> Option<Basic> {
        let user_pass = match (username, password) {
            (CredentialField::Blank, CredentialField::Blank) => return None,
            (CredentialField::Rendered(""), _) | (_, CredentialField::Rendered("")) => Expected::nothing(),
            (username, password) => {
                Expected::secret(format!("{}:{}", username.text(), password.text()).as_bytes())
            }
        };
        Some(Basic { user_pass })
    }

    /// Whether the value of a request's `Authorization` field is right; `None` where it has none.
    ///
    /// Username and password are compared as the one text they were sent as: no difference between them can be told
    /// from outside, and a username that holds a colon (which RFC 7617 leaves without a meaning) still works.
    #[must_use]
    pub fn check(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = authorization.and_then(|value| credentials(value, SCHEME)) else { return false };
        let mut decoded: SmallVec<[u8; INLINE_BYTES]> = SmallVec::new();
        decoded.resize(base64::decoded_len_estimate(token.len()), 0);
        match BASE64.decode_slice(token, &mut decoded) {
            Ok(length) => self.user_pass.equals(&decoded[..length]),
            Err(_) => false,
        }
    }
}

impl<'a> CredentialField<'a> {
    fn text(self) -> &'a str {
        match self {
            CredentialField::Blank => "",
            CredentialField::Rendered(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;

    fn basic(username: &str, password: &str) -> Basic {
        Basic::compile(CredentialField::Rendered(username), CredentialField::Rendered(password))
            .expect("has credentials")
    }

    fn sent(user_pass: &[u8]) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(user_pass)).into_bytes()
    }

    #[test]
    fn the_examples_of_rfc_7617_pass() {
        assert!(basic("Aladdin", "open sesame").check(Some(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")));
        assert!(basic("test", "123\u{a3}").check(Some(b"Basic dGVzdDoxMjPCow==")));
    }

    #[test]
    fn both_fields_blank_is_no_authentication() {
        assert!(Basic::compile(CredentialField::Blank, CredentialField::Blank).is_none());
    }

    #[test]
    fn a_blank_field_beside_a_set_one_matches_the_empty_string() {
        let no_password =
            Basic::compile(CredentialField::Rendered("key"), CredentialField::Blank).expect("one is set");
        assert!(no_password.check(Some(&sent(b"key:"))));
        assert!(!no_password.check(Some(&sent(b"key"))));
        assert!(!no_password.check(Some(&sent(b"key:x"))));
        let no_username =
            Basic::compile(CredentialField::Blank, CredentialField::Rendered("pass")).expect("one is set");
        assert!(no_username.check(Some(&sent(b":pass"))));
        assert!(!no_username.check(Some(&sent(b"pass"))));
        assert!(!no_username.check(Some(&sent(b"x:pass"))));
    }

    #[test]
    fn a_template_that_renders_empty_refuses_everything() {
        for (username, password) in [
            (CredentialField::Rendered(""), CredentialField::Rendered("")),
            (CredentialField::Rendered(""), CredentialField::Blank),
            (CredentialField::Blank, CredentialField::Rendered("")),
            (CredentialField::Rendered("user"), CredentialField::Rendered("")),
            (CredentialField::Rendered(""), CredentialField::Rendered("pass")),
        ] {
            let basic = Basic::compile(username, password).expect("has credentials");
            for user_pass in [&b":"[..], b"", b"user:", b":pass", b"user:pass"] {
                assert!(!basic.check(Some(&sent(user_pass))), "{username:?} {password:?}");
            }
            assert!(!basic.check(None));
        }
    }

    #[test]
    fn a_wrong_or_missing_credential_is_refused() {
        let basic = basic("user", "pass");
        assert!(basic.check(Some(&sent(b"user:pass"))));
        for wrong in
            [&b"user:pas"[..], b"user:passs", b"use:pass", b"User:pass", b"userpass", b"user:pass\n", b":"]
        {
            assert!(!basic.check(Some(&sent(wrong))));
        }
        assert!(!basic.check(None));
        assert!(!basic.check(Some(b"")));
    }

    #[test]
    fn the_password_begins_after_the_first_colon() {
        assert!(basic("user", "pa:ss").check(Some(&sent(b"user:pa:ss"))));
        assert!(!basic("user", "pa:ss").check(Some(&sent(b"user:pa"))));
    }

    #[test]
    fn the_scheme_is_compared_without_case_and_followed_by_spaces() {
        let basic = basic("user", "pass");
        for good in ["Basic dXNlcjpwYXNz", "basic dXNlcjpwYXNz", "BASIC   dXNlcjpwYXNz"] {
            assert!(basic.check(Some(good.as_bytes())), "{good}");
        }
        for bad in [
            "BasicdXNlcjpwYXNz",
            "Basic\tdXNlcjpwYXNz",
            "Bearer dXNlcjpwYXNz",
            "Basic",
            "Basi",
            "dXNlcjpwYXNz",
        ] {
            assert!(!basic.check(Some(bad.as_bytes())), "{bad}");
        }
    }

    #[test]
    fn base64_is_taken_with_or_without_padding_and_in_no_other_form() {
        let basic = basic("u", "p");
        for good in ["Basic dTpw", "Basic dTpw "] {
            assert!(basic.check(Some(good.as_bytes())), "{good}");
        }
        let longer =
            Basic::compile(CredentialField::Rendered("user"), CredentialField::Rendered("p?~\u{ff}"))
                .expect("set");
        let token = BASE64_STANDARD.encode("user:p?~\u{ff}");
        assert!(token.contains('+') || token.contains('/') || token.ends_with('='), "{token}");
        assert!(longer.check(Some(format!("Basic {token}").as_bytes())));
        assert!(longer.check(Some(format!("Basic {}", token.trim_end_matches('=')).as_bytes())));
        for bad in [
            "Basic dTpw=",
            "Basic dT pw",
            "Basic dTpw,dTpw",
            "Basic dTp\u{0}w",
            "Basic d",
            "Basic dTpx",
            "Basic ====",
        ] {
            assert!(!basic.check(Some(bad.as_bytes())), "{bad}");
        }
    }

    #[test]
    fn credentials_of_any_length_are_compared_whole() {
        let long = "x".repeat(5000);
        let basic = basic(&long, &long);
        assert!(basic.check(Some(&sent(format!("{long}:{long}").as_bytes()))));
        assert!(!basic.check(Some(&sent(format!("{long}:{long}x").as_bytes()))));
    }

    #[test]
    fn a_webhook_pays_one_pointer_for_it() {
        assert_eq!(size_of::<Basic>(), size_of::<usize>());
    }
}
