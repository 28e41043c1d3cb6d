//! An `HttpForwardNode`, compiled: the templates of its requests, when it tries again, what it signs with.

use std::sync::Arc;

use crate::base::clock::NANOS_PER_SECOND;
use crate::base::json::Raw;
use crate::model::{ForwardBody, ForwardMethod, HttpForwardConfig, ModelError, Retry, Secrets};
use crate::template::{Escape, GlobalsRoot, Template};
use crate::verify::signature::StandardKey;

/// A node that sends requests to a target.
#[derive(Debug)]
pub struct ForwardNode {
    /// Scheme and authority of the target, `https://api.example.org:8443`: the same for every trigger.
    pub target: Arc<str>,
    /// The URL, which begins with `target`.
    pub url: Template,
    pub method: ForwardMethod,
    /// Names, and templates of the values.
    pub headers: Box<[(String, Template)]>,
    pub body: BodySource,
    /// How long one attempt may take.
    pub timeout_nanos: u64,
    pub rules: ForwardRules,
    /// The key that requests with the same value of which are sent one at a time; `None`: in any order.
    pub order_key: Option<Template>,
    pub signing: Signing,
}

/// Body of the requests of a node.
#[derive(Debug)]
pub enum BodySource {
    Payload,
    Raw,
    Template(Template),
}

/// When and how fast the requests of a node are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardRules {
    /// Most that are under way at a time.
    pub max_in_flight: u32,
    /// Least time between the starts of two requests; 0: none.
    pub interval_nanos: u64,
    /// How often a trigger is tried in all; `None` until the retention ends.
    pub attempts: Option<u32>,
    /// The first pause between two attempts of a trigger.
    pub backoff_nanos: u64,
}

/// How requests are signed.
#[derive(Clone, Debug)]
pub enum Signing {
    /// Not at all.
    None,
    /// With each of these keys.
    Keys(Box<[StandardKey]>),
    /// A secret that a global makes is none: nothing may be sent without the signature that was asked for.
    Unusable,
}

impl ForwardNode {
    /// Compiles a node. `globals` is the object that templates of secrets are rendered over; without it they are checked
    /// only.
    ///
    /// # Errors
    /// The field that is not what it must be.
    pub(super) fn compile(
        config: &HttpForwardConfig,
        globals: Option<&[u8]>,
    ) -> Result<ForwardNode, ModelError> {
        let headers = config
            .headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), template(&format!("config.headers.{name}"), value)?)));
        let body = match &config.body {
            ForwardBody::Payload => BodySource::Payload,
            ForwardBody::Raw => BodySource::Raw,
            ForwardBody::Template(source) => BodySource::Template(template("config.body", source)?),
        };
        let order_key = config.order_key.as_deref().map(|source| template("config.orderKey", source));
        Ok(ForwardNode {
            target: target_of(&config.url).into(),
            url: template("config.url", &config.url)?,
            method: config.method,
            headers: headers.collect::<Result<_, ModelError>>()?,
            body,
            timeout_nanos: u64::from(config.timeout_seconds) * NANOS_PER_SECOND,
            rules: ForwardRules::new(config.max_in_flight, config.requests_per_second, &config.retry),
            order_key: order_key.transpose()?,
            signing: config
                .secret
                .as_ref()
                .map_or(Ok(Signing::None), |secret| Signing::compile(secret, globals))?,
        })
    }
}

impl ForwardRules {
    /// The rules of a node, whose numbers the model has bounded.
    pub(super) fn new(max_in_flight: u32, requests_per_second: Option<f64>, retry: &Retry) -> ForwardRules {
        ForwardRules {
            max_in_flight,
            interval_nanos: requests_per_second.map_or(0, |rate| nanos(1.0 / rate)),
            attempts: retry.attempts,
            backoff_nanos: nanos(retry.backoff_seconds),
        }
    }
}

impl Signing {
    fn compile(secrets: &Secrets, globals: Option<&[u8]>) -> Result<Signing, ModelError> {
        let mut keys = Vec::new();
        for source in secrets.as_slice() {
            let template = template("config.secret", source)?;
            let key = match (template.constant(), globals) {
                (Some(secret), _) => Some(StandardKey::parse(secret).ok_or_else(|| {
                    ModelError::new("config.secret", "must be base64, with or without whsec_ before it")
                })?),
                (None, None) => None,
                (None, Some(globals)) => {
                    let mut text = Vec::new();
                    let root = GlobalsRoot::new(Raw::trusted(globals));
                    // One that renders too much is as unusable as one that is not base64.
                    let rendered = template.render(&root, Escape::None, &mut text);
                    let secret = rendered.ok().and_then(|()| String::from_utf8(text).ok());
                    let key = secret.and_then(|secret| StandardKey::parse(&secret));
                    let Some(key) = key else { return Ok(Signing::Unusable) };
                    Some(key)
                }
            };
            keys.extend(key);
        }
        Ok(Signing::Keys(keys.into()))
    }
}

pub(super) fn template(field: &str, source: &str) -> Result<Template, ModelError> {
    Template::compile(source).map_err(|error| ModelError::new(field, format!("must be a template: {error}")))
}

/// Scheme and authority of a URL, which the model has checked.
fn target_of(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    url[..end].to_ascii_lowercase()
}

/// The nanoseconds of a number of seconds that the model has bounded.
fn nanos(seconds: f64) -> u64 {
    (seconds * NANOS_PER_SECOND as f64) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Flow, NodeKind};

    fn compile(config: &Value, globals: Option<&str>) -> Result<ForwardNode, ModelError> {
        let body = json!({"name": "f", "nodes": [{"type": "HttpForwardNode", "config": config}]});
        let owner = "0123456789abcdef01234567".parse().unwrap();
        let flow = Flow::create(&body, owner, 0).expect("the model takes it");
        let NodeKind::HttpForward(config) = &flow.nodes[0].kind else { panic!("a forward") };
        ForwardNode::compile(config, globals.map(str::as_bytes))
    }

    #[test]
    fn a_node_has_one_target_and_its_rules_in_nanoseconds() {
        let node = compile(
            &json!({"url": "HTTPS://Api.Example.org:8443/a/{{b}}", "timeoutSeconds": 2, "requestsPerSecond": 4,
                "retry": {"attempts": 3, "backoffSeconds": 0.25}}),
            None,
        );
        let node = node.unwrap();
        assert_eq!(&*node.target, "https://api.example.org:8443");
        assert_eq!(node.timeout_nanos, 2 * NANOS_PER_SECOND);
        let rules = ForwardRules {
            max_in_flight: 100,
            interval_nanos: NANOS_PER_SECOND / 4,
            attempts: Some(3),
            backoff_nanos: NANOS_PER_SECOND / 4,
        };
        assert_eq!(node.rules, rules);
        assert_eq!(&*compile(&json!({"url": "http://[::1]?{{a}}"}), None).unwrap().target, "http://[::1]");
    }

    #[test]
    fn what_does_not_compile_is_named() {
        let with = |name: &str, value: Value| {
            let mut config = json!({"url": "http://x", "ordered": true});
            config[name] = value;
            compile(&config, None).map(drop).expect_err(name).to_string()
        };
        for (name, value, field) in [
            ("url", json!("http://x/{{"), "config.url"),
            ("headers", json!({"X-A": "{{#if}}"}), "config.headers.X-A"),
            ("body", json!("{{/x}}"), "config.body"),
            ("orderKey", json!("{{"), "config.orderKey"),
            ("secret", json!("{{"), "config.secret"),
            ("secret", json!("*"), "config.secret"),
        ] {
            let error = with(name, value);
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_secret_of_a_global_signs_once_it_is_one() {
        let config = json!({"url": "http://x", "secret": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "{{globals.key}}"]});
        assert!(
            matches!(compile(&config, Some(r#"{"key":"AAAA"}"#)).unwrap().signing, Signing::Keys(keys) if keys.len() == 2)
        );
        for globals in ["{}", r#"{"key":"*"}"#] {
            assert!(
                matches!(compile(&config, Some(globals)).unwrap().signing, Signing::Unusable),
                "{globals}"
            );
        }
        assert!(matches!(compile(&config, None).unwrap().signing, Signing::Keys(_)), "checked only");
    }
}
