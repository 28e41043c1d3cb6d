//! The token of a webhook's URL, changed: the old one remains valid for a grace
//! ([verification](crate::guide::verification#who-may-call), `POST …/token`).

use serde_json::Value;

use super::error::ModelError;
use super::fields::Fields;
use super::previous_token::{PreviousToken, TOKEN_KIND};
use super::spec::{ObjectSpec, rows};
use super::webhook::Webhook;
use crate::base::id::TokenText;

/// The fields of the body of `POST …/token`.
pub(crate) static TOKEN_POST: ObjectSpec = ObjectSpec::new(
    "the change of a token",
    &[&rows! {
        "token": TOKEN_KIND => "The new token; one is made if it is missing.";
        "graceSeconds": integer(0, TokenChange::GRACE_SECONDS_MAX), or_number(0) =>
            "How long the old token stays valid.";
    }],
);

/// The body of `POST …/token`.
#[derive(Clone, Debug)]
pub struct TokenChange {
    pub token: TokenText,
    grace_millis: u64,
}

impl TokenChange {
    /// Longest grace: 30 days.
    pub const GRACE_SECONDS_MAX: u32 = 2_592_000;
    /// Most tokens that go on beside the present one; one more, and that which ends first ends at once.
    pub const PREVIOUS_MAX: usize = 8;

    /// Reads the body; a token that it does not give is made.
    pub fn read(body: &Value) -> Result<TokenChange, ModelError> {
        const MILLIS_PER_SECOND: u64 = 1_000;
        let mut fields = Fields::of(body, "", &TOKEN_POST)?;
        let token = match fields.value("token") {
            None => TokenText::generate(),
            Some(value) => {
                let token = value.as_str().and_then(TokenText::parse);
                token.ok_or_else(|| fields.must_be("token"))?
            }
        };
        let grace_seconds = fields.integer_or_default("graceSeconds")?;
        fields.finish_strict()?;
        Ok(TokenChange { token, grace_millis: u64::from(grace_seconds) * MILLIS_PER_SECOND })
    }
}

impl Webhook {
    /// Gives the webhook another token. The one that it had goes on for the grace; those that it had before go on until
    /// theirs ends.
    pub fn change_token(&mut self, change: TokenChange, unix_millis: u64) {
        let old = std::mem::replace(&mut self.token, change.token);
        self.last_updated = unix_millis;
        let previous = &mut self.previous_tokens;
        previous.retain(|previous| previous.token != old);
        previous.push(PreviousToken { token: old, ends_millis: unix_millis + change.grace_millis });
        previous.retain(|previous| previous.ends_millis > unix_millis && previous.token != self.token);
        previous.sort_by_key(|previous| previous.ends_millis);
        let over = previous.len().saturating_sub(TokenChange::PREVIOUS_MAX);
        previous.drain(..over);
    }

    /// The present token and those that go on beside it, whether their grace has ended or not.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenText> {
        std::iter::once(&self.token).chain(self.previous_tokens.iter().map(|previous| &previous.token))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::id::Id;

    fn change(token: &str, grace_seconds: u32) -> TokenChange {
        TokenChange::read(&json!({"token": token, "graceSeconds": grace_seconds})).unwrap()
    }

    fn tokens(webhook: &Webhook) -> Vec<&str> {
        webhook.tokens().map(TokenText::as_str).collect()
    }

    fn webhook() -> Webhook {
        let mut webhook = Webhook::create(&json!({"name": "w"}), Id::from_raw([1; 12]), 0).unwrap();
        webhook.token = TokenText::parse("the-first").unwrap();
        webhook
    }

    #[test]
    fn an_old_token_goes_on_until_its_grace_ends() {
        let mut webhook = webhook();
        webhook.change_token(change("the-second", 10), 1_000);
        assert_eq!(tokens(&webhook), ["the-second", "the-first"]);
        assert_eq!(webhook.previous_tokens[0].ends_millis, 11_000);
        webhook.change_token(change("the-third", 20), 10_999);
        assert_eq!(tokens(&webhook), ["the-third", "the-first", "the-second"]);
        webhook.change_token(change("the-fourth", 0), 11_000);
        assert_eq!(tokens(&webhook), ["the-fourth", "the-second"]);
    }

    #[test]
    fn a_token_that_is_taken_back_is_no_previous_one() {
        let mut webhook = webhook();
        webhook.change_token(change("the-second", 10), 0);
        webhook.change_token(change("the-first", 10), 1_000);
        assert_eq!(tokens(&webhook), ["the-first", "the-second"]);
        webhook.change_token(change("the-first", 10), 2_000);
        assert_eq!(tokens(&webhook), ["the-first", "the-second"]);
    }

    #[test]
    fn the_token_that_ends_first_makes_room() {
        let mut webhook = webhook();
        for number in 0..=TokenChange::PREVIOUS_MAX {
            webhook.change_token(change(&format!("token-no-{number}"), 100), number as u64);
        }
        assert_eq!(webhook.previous_tokens.len(), TokenChange::PREVIOUS_MAX);
        assert!(!tokens(&webhook).contains(&"the-first"));
    }

    #[test]
    fn a_token_that_is_not_given_is_made_and_a_bad_one_is_refused() {
        let made = TokenChange::read(&json!({})).unwrap();
        assert_eq!((made.token.as_str().len(), made.grace_millis), (40, 0));
        for (body, field) in [
            (json!({"token": "seven77"}), "token"),
            (json!({"token": "a".repeat(129)}), "token"),
            (json!({"token": "not/a/token"}), "token"),
            (json!({"token": null}), "token"),
            (json!({"graceSeconds": 2_592_001}), "graceSeconds"),
            (json!({"graceSeconds": -1}), "graceSeconds"),
            (json!({"grace": 1}), "grace"),
        ] {
            assert_eq!(TokenChange::read(&body).unwrap_err().field(), field, "{body}");
        }
    }
}
