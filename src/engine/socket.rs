//! The task of one WebSocket, which began as an HTTP connection.

use std::sync::Arc;

use super::connection::Connection;
use crate::ingress::respond::Answer;
use crate::registry::Hook;

/// Serves a WebSocket to its end.
pub(super) async fn serve(mut connection: Connection, _hook: Arc<Hook>) {
    connection.refuse(&Answer::UpgradeRefused("This version does not serve WebSocket webhooks yet"));
    connection.close(true).await;
}
