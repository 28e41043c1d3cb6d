//! Access tokens beside the first one, in the database.

use redb::ReadableTable;

use super::changes::Changes;
use super::error::{ChangeError, StoreError};
use super::read::read_access_tokens;
use super::record_change::RecordKind;
use super::tables::ACCESS_TOKENS_MAX;
use super::{Changed, Store};
use crate::base::id::Id;
use crate::model::{AccessToken, ModelError};

impl Store {
    /// The access tokens beside the first, in the order of their ids.
    ///
    /// # Errors
    /// If the database failed.
    pub fn access_tokens(&self) -> Result<Vec<AccessToken>, StoreError> {
        self.database.read(|reads| reads.access_tokens())
    }

    /// Keeps a new access token.
    ///
    /// # Errors
    /// If its name is another one's, there are too many, or the database failed.
    pub fn insert_access_token(&self, token: AccessToken) -> Result<Changed<AccessToken>, ChangeError> {
        self.change(move |changes| changes.insert_access_token(token.clone()))
    }

    /// Deletes an access token and returns what it was; `None` if there is none.
    ///
    /// # Errors
    /// If the database failed.
    pub fn delete_access_token(&self, id: Id) -> Result<Changed<Option<AccessToken>>, ChangeError> {
        self.change(move |changes| changes.delete_access_token(&id))
    }
}

impl Changes<'_> {
    /// See [`Store::insert_access_token`].
    ///
    /// # Errors
    /// As there.
    pub fn insert_access_token(&mut self, token: AccessToken) -> Result<AccessToken, ChangeError> {
        let known = read_access_tokens(&self.access_tokens, self.path)?;
        if known.iter().any(|known| known.name == token.name) {
            return Err(ModelError::new("name", "must be one that no other access token has").into());
        }
        if known.len() >= ACCESS_TOKENS_MAX {
            let message =
                format!("must be revoked somewhere first: there are {ACCESS_TOKENS_MAX} access tokens");
            return Err(ModelError::new("name", message).into());
        }
        self.keep(RecordKind::AccessToken, token.id, &token.to_stored())?;
        Ok(token)
    }

    /// See [`Store::delete_access_token`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_access_token(&mut self, id: &Id) -> Result<Option<AccessToken>, ChangeError> {
        let token = {
            let found = self.access_tokens.get(id.raw());
            let found = found.map_err(|error| StoreError::database(self.path, error))?;
            let token = found.map(|bytes| AccessToken::from_stored(bytes.value())).transpose();
            token.map_err(|error| StoreError::record(self.path, &error))?
        };
        if token.is_some() {
            self.drop_record(RecordKind::AccessToken, id)?;
        }
        Ok(token)
    }
}
