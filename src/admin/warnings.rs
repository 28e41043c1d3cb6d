//! Warnings about a saved resource whose fields have no effect: part of every answer that shows it alone, and shown by
//! the console and the command line.

use crate::base::id::Id;
use crate::model::{Flow, NodeKind, TriggerKind, VerificationType, Webhook};
use crate::store::{Source, Store, StoreError};

/// Most warnings of one answer: a flow may have a thousand triggers.
const WARNINGS_MAX: usize = 100;

/// The payload path of a caller's own `replyId`.
const OWN_REPLY_ID: &str = "data.replyId";

/// The warnings of a webhook.
pub(super) fn of_webhook(store: &Store, webhook: &Webhook) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    let needs_code =
        matches!(webhook.verification_type, VerificationType::Facebook | VerificationType::Fitbit);
    if needs_code && !webhook.is_websocket && webhook.verification_code.is_empty() {
        warnings.push(format!(
            "`verificationCode` is empty: no handshake of `verificationType` {} succeeds until it is set",
            webhook.verification_type.as_str()
        ));
    }
    if !webhook.is_websocket && !webhook.wait_for_reply {
        let flows = store.flows_of_webhook(&webhook.id)?;
        let replying =
            flows.iter().filter(|flow| flow.enabled && replies_to_caller(flow, webhook.id).is_some());
        warnings.extend(replying.take(WARNINGS_MAX).map(|flow| {
            format!(
                "the flow {:?} replies, but no caller waits for it until `waitForReply` is true",
                flow.name
            )
        }));
    }
    Ok(warnings)
}

/// The warnings of a flow, or of a version of it.
pub(super) fn of_flow(store: &Store, flow: &Flow) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    for (index, trigger) in flow.triggers.iter().enumerate() {
        if warnings.len() >= WARNINGS_MAX {
            break;
        }
        let id = match &trigger.kind {
            TriggerKind::Webhook(id) => id,
            TriggerKind::Inert { type_name, .. } => {
                warnings.push(format!(
                    "`triggers[{index}]` of the type {type_name:?} is kept, but starts nothing here"
                ));
                continue;
            }
        };
        match store.webhook(id)? {
            None => {
                warnings.push(format!("`triggers[{index}].key`: there is no webhook {id}; it starts nothing"))
            }
            Some(webhook) if webhook.application_id != flow.application_id => warnings.push(format!(
                "`triggers[{index}].key`: the webhook {id} belongs to another application; it starts nothing"
            )),
            Some(webhook) if !webhook.is_websocket && !webhook.wait_for_reply => {
                warnings.extend(replies_to_caller(flow, *id).map(|node| {
                    format!(
                        "`nodes[{node}]` replies, but no caller of the webhook {:?} waits for it until its \
                        `waitForReply` is true",
                        webhook.name
                    )
                }));
            }
            Some(_) => {}
        }
    }
    Ok(warnings)
}

/// The first node that replies to whoever called the webhook over HTTP.
fn replies_to_caller(flow: &Flow, webhook: Id) -> Option<usize> {
    flow.nodes_after(webhook).into_iter().find(|node| match &flow.nodes[*node].kind {
        NodeKind::WebhookReply(config) => {
            !config.is_websocket_message && config.reply_id_path.trim() == OWN_REPLY_ID
        }
        _ => false,
    })
}
