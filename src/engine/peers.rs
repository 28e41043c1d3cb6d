//! The mailboxes of all cores, as one of them sees them.

use std::sync::Arc;

use super::mailbox::MailboxSender;
use super::message::Message;
use crate::connection::message::{CoreMessage, OwnMailbox, OwnSender, Peers};

/// The mailboxes of all cores.
pub(super) struct Mailboxes<S> {
    own: usize,
    all: Vec<MailboxSender<Message<S>>>,
}

impl<S> Mailboxes<S> {
    /// The mailboxes as core `own` sees them.
    pub(super) fn new(own: usize, all: Vec<MailboxSender<Message<S>>>) -> Mailboxes<S> {
        Mailboxes { own, all }
    }
}

impl<S: Send + 'static> Peers for Mailboxes<S> {
    fn count(&self) -> usize {
        self.all.len()
    }

    fn send(&self, core: usize, message: CoreMessage) -> Result<(), CoreMessage> {
        match self.all.get(core) {
            None => Err(message),
            Some(mailbox) => mailbox.send(Message::Core(message)).map_err(|full| match full.0 {
                Message::Core(message) => message,
                _ => unreachable!("the message that was sent is returned"),
            }),
        }
    }

    fn own_mailbox(&self) -> OwnMailbox {
        let own = self.all[self.own].clone();
        Arc::new(move |message| {
            own.send(Message::Core(message)).map_err(|full| match full.0 {
                Message::Core(message) => message,
                _ => unreachable!("the message that was sent is returned"),
            })
        })
    }

    fn own_sender(&self) -> OwnSender {
        let own = self.all[self.own].clone();
        Box::new(move |message| own.send(Message::Core(message)).is_ok())
    }
}
