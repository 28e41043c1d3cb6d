//! Stand-in.
use crate::model::WebhookReplyConfig;
use crate::template::Root;
use crate::trigger::Payload;
use bytes::Bytes;
#[derive(Debug)]
pub struct Reply {
    pub response_code: Option<i64>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}
pub struct HttpReply {
    pub status: u16,
    pub content_type: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}
#[derive(Debug)]
pub struct E {
    pub field: String,
    pub message: String,
}
impl std::fmt::Display for E {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
pub fn to_http(reply: &Reply, status: u16, _l: usize) -> Result<HttpReply, E> {
    Ok(HttpReply {
        status,
        content_type: "application/json".into(),
        headers: vec![],
        body: reply.body.clone(),
    })
}
pub fn check_size(_r: &Reply, _l: usize) -> Result<(), E> {
    Ok(())
}
#[derive(Debug)]
pub struct ReplyNode {
    body: String,
}
impl ReplyNode {
    pub fn compile(c: &WebhookReplyConfig) -> Result<ReplyNode, E> {
        Ok(ReplyNode { body: c.body_template.clone() })
    }
    pub fn is_websocket_message(&self) -> bool {
        false
    }
    pub fn render(&self, p: &Payload) -> Option<(String, Reply)> {
        let id = p.get("data")?.get("replyId")?.as_str()?.into_owned();
        Some((id, Reply { response_code: None, headers: vec![], body: Bytes::from(self.body.clone()) }))
    }
}

pub fn parse_body(_t: &[u8]) -> Result<Reply, E> {
    Ok(Reply { response_code: None, headers: vec![], body: Bytes::from_static(b"x") })
}
pub struct Message<'a> {
    pub text: bool,
    pub bytes: &'a [u8],
}
pub struct Close {
    pub code: u16,
    pub reason: String,
}
impl Reply {
    pub fn message(&self) -> Option<Message<'_>> {
        Some(Message { text: true, bytes: &self.body })
    }
    pub fn close(&self) -> Option<&Close> {
        None
    }
}
pub fn parse_frame(_r: crate::base::json::Raw<'_>) -> Result<Reply, E> {
    parse_body(b"")
}
