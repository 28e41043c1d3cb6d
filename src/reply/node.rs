//! A `WebhookReplyNode`, compiled: what a payload makes of it.

use bytes::Bytes;

use super::encoding::Encoding;
use super::headers::{HEADER_BYTES_MAX, HEADERS_MAX};
use super::{Reply, ReplyError};
use crate::base::json::{Kind, Raw};
use crate::model::{BodyTemplateType, WebhookReplyConfig};
use crate::template::{Escape, Path, RenderError, Root, Template, TemplateError};

/// Where the `replyId` lies unless the node says otherwise.
const REPLY_ID_PATH: &str = "data.replyId";
/// Room for an ordinary body, so that it grows seldom.
const BODY_ROOM: usize = 256;
/// Bytes of a rendered status or encoding: far over any that is one.
const WORD_BYTES_MAX: usize = 1024;

/// A node that answers.
#[derive(Debug)]
pub struct ReplyNode {
    reply_id: Path,
    /// `None` for the webhook's own.
    response_code: Option<Template>,
    body: Body,
    headers: Box<[(Template, Template)]>,
    is_websocket_message: bool,
    encoding: EncodingChoice,
}

#[derive(Debug)]
enum Body {
    Nothing,
    Constant(Bytes),
    Template(Template),
    Path(Path),
}

#[derive(Debug)]
enum EncodingChoice {
    Fixed(Encoding),
    Template(Template),
}

/// Why a node sent nothing although it has somebody to send it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// A template did not render.
    Render(RenderError),
    /// The encoding's template rendered what is none.
    Encoding,
}

impl From<RenderError> for Unsent {
    fn from(error: RenderError) -> Unsent {
        Unsent::Render(error)
    }
}

impl ReplyNode {
    /// Compiles a node. Empty texts count as not given.
    ///
    /// # Errors
    /// The field whose template or path is none, as `config.bodyTemplate`.
    pub fn compile(config: &WebhookReplyConfig) -> Result<ReplyNode, ReplyError> {
        let reply_id_path =
            if config.reply_id_path.is_empty() { REPLY_ID_PATH } else { &config.reply_id_path };
        let body = match config.body_template_type {
            BodyTemplateType::Path if config.body_template.is_empty() => Body::Nothing,
            BodyTemplateType::Path => Body::Path(path("config.bodyTemplate", &config.body_template)?),
            BodyTemplateType::String => {
                let template = template("config.bodyTemplate", &config.body_template)?;
                match template.constant() {
                    Some(text) => Body::Constant(Bytes::copy_from_slice(text.as_bytes())),
                    None => Body::Template(template),
                }
            }
        };
        let headers = config.header_info.iter().enumerate().map(|(index, header)| {
            let field = |name: &str| format!("config.headerInfo[{index}].{name}");
            Ok((
                template(&field("keyTemplate"), &header.key_template)?,
                template(&field("valueTemplate"), &header.value_template)?,
            ))
        });
        let response_code = match config.response_code_template.as_str() {
            "" => None,
            source => Some(template("config.responseCodeTemplate", source)?),
        };
        Ok(ReplyNode {
            reply_id: path("config.replyIdPath", reply_id_path)?,
            response_code,
            body,
            headers: headers.collect::<Result<_, _>>()?,
            is_websocket_message: config.is_websocket_message,
            encoding: EncodingChoice::compile(&config.encoding_template)?,
        })
    }

    /// Whether it answers WebSockets, not requests.
    #[must_use]
    pub fn is_websocket_message(&self) -> bool {
        self.is_websocket_message
    }

    /// The reply to a payload and the `replyId` that it goes to. `None` where nobody is to get one: the payload has no
    /// `replyId`, or the node's path leads to nothing and it is a WebSocket's message.
    ///
    /// # Errors
    /// If a reply was to be made and could not.
    pub fn render(&self, payload: &dyn Root) -> Result<Option<(String, Reply)>, Unsent> {
        let Some(reply_id) = self.reply_id.find(payload).and_then(|id| id.as_str()) else { return Ok(None) };
        let encoding = self.encoding.choose(payload)?;
        let body = match &self.body {
            Body::Nothing => None,
            Body::Constant(text) if encoding == Encoding::Utf8 => Some(text.clone()),
            Body::Constant(text) => Some(Bytes::from(encoding.decode_lenient(text.to_vec()))),
            Body::Template(template) => {
                let mut text = Vec::with_capacity(BODY_ROOM);
                template.render(payload, Escape::Html, &mut text)?;
                Some(Bytes::from(encoding.decode_lenient(text)))
            }
            Body::Path(path) => {
                path.read(payload).map(|json| Bytes::from(encoding.decode_lenient(text_of(&json))))
            }
        };
        if self.is_websocket_message && body.is_none() {
            return Ok(None);
        }
        let reply = Reply {
            response_code: self.response_code(payload)?,
            headers: self.headers(payload)?,
            body,
            is_binary: encoding != Encoding::Utf8,
            close: None,
        };
        Ok(Some((reply_id.into_owned(), reply)))
    }

    /// The status, if what is rendered is a whole number.
    fn response_code(&self, payload: &dyn Root) -> Result<Option<i64>, Unsent> {
        let Some(template) = &self.response_code else { return Ok(None) };
        let text = word(template, payload)?;
        let number = text.trim();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are a number still, only no status.
        Ok(is_number.then(|| number.parse().unwrap_or(i64::MAX)))
    }

    /// The headers that can go out at all; the rest is [`super::to_http`]'s to drop.
    fn headers(&self, payload: &dyn Root) -> Result<Vec<(String, String)>, Unsent> {
        let mut headers = Vec::with_capacity(self.headers.len().min(HEADERS_MAX));
        for (name, value) in &self.headers {
            headers.push((header_text(name, payload)?, header_text(value, payload)?));
        }
        Ok(headers)
    }
}

impl EncodingChoice {
    fn compile(source: &str) -> Result<EncodingChoice, ReplyError> {
        let field = "config.encodingTemplate";
        let template = template(field, source)?;
        let Some(text) = template.constant() else { return Ok(EncodingChoice::Template(template)) };
        encoding_of(text).map(EncodingChoice::Fixed).ok_or_else(|| {
            ReplyError::new(field, format!("must be {}, or a template of that", Encoding::NAMES))
        })
    }

    fn choose(&self, payload: &dyn Root) -> Result<Encoding, Unsent> {
        match self {
            EncodingChoice::Fixed(encoding) => Ok(*encoding),
            EncodingChoice::Template(template) => {
                encoding_of(&word(template, payload)?).ok_or(Unsent::Encoding)
            }
        }
    }
}

/// Nothing but blanks is `utf8`.
fn encoding_of(text: &str) -> Option<Encoding> {
    match text.trim() {
        "" => Some(Encoding::Utf8),
        name => Encoding::named(name),
    }
}

/// The text that a JSON value is sent as: a string's own, the JSON of anything else.
fn text_of(json: &[u8]) -> Vec<u8> {
    let value = Raw::trusted(json);
    match value.as_str() {
        Some(text) if value.kind() == Kind::String => text.into_owned().into_bytes(),
        _ => value.bytes().to_vec(),
    }
}

fn word(template: &Template, payload: &dyn Root) -> Result<String, RenderError> {
    rendered(template, payload, WORD_BYTES_MAX)
}

fn header_text(template: &Template, payload: &dyn Root) -> Result<String, RenderError> {
    rendered(template, payload, HEADER_BYTES_MAX)
}

fn rendered(template: &Template, payload: &dyn Root, bytes_max: usize) -> Result<String, RenderError> {
    if let Some(text) = template.constant() {
        return Ok(text.to_owned());
    }
    let mut text = Vec::new();
    template.render_within(payload, Escape::Html, bytes_max, &mut text)?;
    Ok(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn template(field: &str, source: &str) -> Result<Template, ReplyError> {
    Template::compile(source).map_err(|error| template_error(field, "a template", &error))
}

fn path(field: &str, source: &str) -> Result<Path, ReplyError> {
    Path::parse(source).map_err(|error| template_error(field, "a payload path", &error))
}

fn template_error(field: &str, what: &str, error: &TemplateError) -> ReplyError {
    ReplyError::new(field, format!("must be {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HeaderTemplate;

    const PAYLOAD: &str = r#"{"data":{"replyId":"r1","body":{"id":"<7>","code":" 201 ","obj":{"b" : 1.0},"s":"\u00e9","e":"",
        "enc":"hex","hex":"00ff","list":[1, 2]}},"other":"r2"}"#;

    fn config(body: &str) -> WebhookReplyConfig {
        WebhookReplyConfig { body_template: body.to_owned(), ..WebhookReplyConfig::default() }
    }

    fn path_config(path: &str, is_websocket_message: bool) -> WebhookReplyConfig {
        WebhookReplyConfig {
            body_template_type: BodyTemplateType::Path,
            is_websocket_message,
            ..config(path)
        }
    }

    fn render(config: &WebhookReplyConfig) -> Option<(String, Reply)> {
        let node = ReplyNode::compile(config).expect("it compiles");
        node.render(&Raw::document(PAYLOAD.as_bytes()).expect("JSON")).expect("it renders")
    }

    fn body(config: &WebhookReplyConfig) -> Option<Vec<u8>> {
        render(config).and_then(|(_, reply)| reply.body).map(Vec::from)
    }

    #[test]
    fn a_template_becomes_the_body() {
        let (reply_id, reply) = render(&config(r#"{"id":"{{data.body.id}}"}"#)).unwrap();
        assert_eq!(reply_id, "r1");
        assert_eq!(reply.body.as_deref(), Some(&br#"{"id":"&lt;7&gt;"}"#[..]));
        assert_eq!((reply.response_code, reply.is_binary, reply.close), (None, false, None));
        assert_eq!(body(&config("constant")).unwrap(), b"constant");
        assert_eq!(body(&config("")).unwrap(), b"");
    }

    #[test]
    fn a_path_becomes_the_body_as_it_stands() {
        for (path, expected) in [
            ("data.body.obj", Some(&br#"{"b" : 1.0}"#[..])),
            ("data.body.list", Some(b"[1, 2]")),
            ("data.body.s", Some("é".as_bytes())),
            ("data.body.e", Some(b"")),
            ("data.body.list[0]", Some(b"1")),
            ("data.missing", None),
            ("", None),
        ] {
            assert_eq!(body(&path_config(path, false)).as_deref(), expected, "{path}");
            assert_eq!(body(&path_config(path, true)).as_deref(), expected, "{path}");
            assert!(render(&path_config(path, false)).is_some(), "a request is always answered: {path}");
            assert_eq!(render(&path_config(path, true)).is_some(), expected.is_some(), "{path}");
        }
    }

    #[test]
    fn the_reply_id_is_looked_up_where_the_node_says() {
        let other = WebhookReplyConfig { reply_id_path: "other".to_owned(), ..config("x") };
        assert_eq!(render(&other).unwrap().0, "r2");
        for path in ["missing", "data.body.obj"] {
            let nobody = WebhookReplyConfig { reply_id_path: path.to_owned(), ..config("x") };
            assert_eq!(render(&nobody), None, "{path}");
        }
        let unset = WebhookReplyConfig { reply_id_path: String::new(), ..config("x") };
        assert_eq!(render(&unset).unwrap().0, "r1");
    }

    #[test]
    fn a_status_is_taken_where_it_is_a_whole_number() {
        for (source, code) in [
            ("404", Some(404)),
            ("{{data.body.code}}", Some(201)),
            ("{{data.missing}}", None),
            ("4o4", None),
            ("-1", Some(-1)),
            ("-", None),
            ("1.5", None),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            let config = WebhookReplyConfig { response_code_template: source.to_owned(), ..config("x") };
            assert_eq!(render(&config).unwrap().1.response_code, code, "{source}");
        }
    }

    #[test]
    fn headers_are_rendered_in_order() {
        let header = |key: &str, value: &str| HeaderTemplate {
            key_template: key.into(),
            value_template: value.into(),
        };
        let config = WebhookReplyConfig {
            header_info: vec![header("X-{{data.body.enc}}", "{{{data.body.id}}}"), header("a", "b")],
            ..config("x")
        };
        let headers = render(&config).unwrap().1.headers;
        assert_eq!(headers, [("X-hex".to_owned(), "<7>".to_owned()), ("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn an_encoding_makes_bytes_of_the_text() {
        for (encoding, source, expected, is_binary) in [
            ("", "00ff", &b"00ff"[..], false),
            ("utf8", "00ff", b"00ff", false),
            ("{{data.missing}}", "00ff", b"00ff", false),
            ("hex", "00ff", b"\x00\xff", true),
            ("{{data.body.enc}}", "{{data.body.hex}}", b"\x00\xff", true),
            ("base64", "AP8", b"\x00\xff", true),
            ("binary", "\u{0}\u{ff}", b"\x00\xff", true),
        ] {
            let config = WebhookReplyConfig {
                encoding_template: encoding.to_owned(),
                is_websocket_message: true,
                ..config(source)
            };
            let reply = render(&config).unwrap().1;
            assert_eq!(reply.body.as_deref(), Some(expected), "{encoding}");
            assert_eq!(reply.is_binary, is_binary, "{encoding}");
        }
        let wrong = WebhookReplyConfig { encoding_template: "{{data.body.id}}".to_owned(), ..config("x") };
        let node = ReplyNode::compile(&wrong).unwrap();
        assert_eq!(node.render(&Raw::trusted(PAYLOAD.as_bytes())), Err(Unsent::Encoding));
    }

    #[test]
    fn what_does_not_compile_is_named() {
        let header = |key: &str, value: &str| HeaderTemplate {
            key_template: key.into(),
            value_template: value.into(),
        };
        let base = config("x");
        for (config, field) in [
            (config("a\n{{#if}}"), "config.bodyTemplate"),
            (path_config("a..b", false), "config.bodyTemplate"),
            (WebhookReplyConfig { reply_id_path: "{{x}}".into(), ..base.clone() }, "config.replyIdPath"),
            (
                WebhookReplyConfig { response_code_template: "{{".into(), ..base.clone() },
                "config.responseCodeTemplate",
            ),
            (
                WebhookReplyConfig { encoding_template: "utf-8".into(), ..base.clone() },
                "config.encodingTemplate",
            ),
            (
                WebhookReplyConfig { header_info: vec![header("a", "b"), header("{{", "b")], ..base.clone() },
                "config.headerInfo[1].keyTemplate",
            ),
            (
                WebhookReplyConfig { header_info: vec![header("a", "{{x y}}")], ..base.clone() },
                "config.headerInfo[0].valueTemplate",
            ),
        ] {
            let error = ReplyNode::compile(&config).expect_err(field);
            assert_eq!(error.field, field, "{error}");
            assert!(error.message.contains("line ") || error.message.contains("must be utf8"), "{error}");
        }
    }
}
