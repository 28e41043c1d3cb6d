//! The change of a webhook's token.

use redb::ReadableTable;

use super::changes::{Changes, failed};
use super::error::{ChangeError, Resource, StoreError};
use crate::base::id::{Id, TokenText};
use crate::model::{PreviousToken, TokenChange, Webhook};

impl Changes<'_> {
    /// Gives a webhook another token; the old one goes on for the grace of the change.
    ///
    /// # Errors
    ///
    /// If there is no such webhook, if another one has the token (its grace included), or the database failed.
    pub fn change_token(
        &mut self,
        application: &Id,
        id: &Id,
        change: TokenChange,
        unix_millis: u64,
    ) -> Result<Webhook, ChangeError> {
        let old = self.webhook_of(application, id)?;
        let owner = self.token_owner(&change.token)?.filter(|owner| owner.id != *id);
        if let Some(owner) = owner {
            let is_over = |previous: &PreviousToken| {
                previous.token == change.token && previous.ends_millis <= unix_millis
            };
            if !owner.previous_tokens.iter().any(is_over) {
                return Err(ChangeError::Conflict(Resource::Webhook));
            }
            let mut without = owner.clone();
            without.previous_tokens.retain(|previous| previous.token != change.token);
            self.put_webhook(Some(&owner), &without)?;
        }
        let mut new = old.clone();
        new.change_token(change, unix_millis);
        for token in old.tokens() {
            self.tokens.remove(token.key().as_bytes()).map_err(|error| failed(self.path, error))?;
        }
        for token in new.tokens() {
            self.tokens.insert(token.key().as_bytes(), id.raw()).map_err(|error| failed(self.path, error))?;
        }
        self.put_webhook(Some(&old), &new)?;
        Ok(new)
    }

    /// The webhook that has a token, or had it.
    fn token_owner(&self, token: &TokenText) -> Result<Option<Webhook>, StoreError> {
        let found = self.tokens.get(token.key().as_bytes()).map_err(|error| failed(self.path, error))?;
        let Some(owner) = found.map(|owner| Id::from_raw(*owner.value())) else { return Ok(None) };
        self.webhook(&owner)
    }
}
