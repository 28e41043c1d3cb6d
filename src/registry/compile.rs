//! From the model's webhook, application and flows to a [`Hook`], and the checks that a change must pass before it
//! is kept (what compiles here, compiles there).

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::aside::RetiredRates;
use super::condition::Condition;
use super::flow_states::FlowStates;
use super::forward::{BodySource, ForwardNode};
use super::hook::{Action, Branches, FlowPlan, Hook, Reads, Step, WorkerPlan};
use super::nats::NatsNode;
use super::options::{Deduplicate, HookOptions, TemplateMark};
use super::target::TargetNode;
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::json::Raw;
use crate::limit::{Concurrency, Rate};
use crate::model::{
    Application, AuthConfig, DeduplicateConfig, Flow, FlowNode, Global, JwtConfig, JwtKeys, ModelError,
    NamedSecret, NodeKind, PreviousToken, Secrets, SignatureConfig, Webhook, Wires, merged_json,
};
use crate::reply::{CallerKind, ReplyNode};
use crate::settings::Limits;
use crate::template::{Escape, GlobalsRoot, Template};
use crate::trigger::{Parts, Tail};
use crate::verify::auth::{Auth, Values};
use crate::verify::basic::{Basic, CredentialField};
use crate::verify::jwt::{Jwt, KeySet, RenderedKeys};
use crate::verify::provider::Provider;
use crate::verify::signature::{SecretError, Signature};

/// The server's settings, which apply where a webhook has none of its own.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub cores: usize,
    /// Whether limits are shared with other nodes of a cluster.
    pub shares_limits: bool,
    pub requests_per_window: u32,
    pub window_seconds: u32,
    pub concurrency: u32,
    pub payload_bytes: u32,
    pub reply_timeout_seconds: u32,
}

impl Defaults {
    /// Of a server with `limits` on `cores` cores.
    #[must_use]
    pub fn new(cores: usize, limits: &Limits) -> Defaults {
        Defaults {
            cores,
            shares_limits: false,
            requests_per_window: limits.requests_per_window,
            window_seconds: limits.window_seconds,
            concurrency: limits.concurrency,
            payload_bytes: limits.payload_bytes,
            reply_timeout_seconds: limits.reply_timeout_seconds,
        }
    }
}

/// The values that all webhooks of an application share.
pub(super) struct ApplicationPart {
    id: Id,
    name: String,
    own_globals: Vec<Global>,
    /// `{"key":<its JSON>,…}`
    globals: Arc<[u8]>,
}

impl ApplicationPart {
    pub(super) fn new(application: &Application) -> ApplicationPart {
        ApplicationPart {
            id: application.id,
            name: application.name.clone(),
            own_globals: application.globals.clone(),
            globals: merged_json(&application.globals, &[]).into(),
        }
    }

    /// The application's globals, a JSON object.
    pub(super) fn globals(&self) -> Arc<[u8]> {
        Arc::clone(&self.globals)
    }

    /// The globals that a flow's payloads and templates have: the application's with the flow's over them.
    fn globals_of(&self, flow: &Flow) -> Arc<[u8]> {
        if flow.globals.is_empty() {
            return Arc::clone(&self.globals);
        }
        merged_json(&self.own_globals, &flow.globals).into()
    }
}

/// The inputs of compilation besides the model.
pub(super) struct Wiring<'r> {
    defaults: &'r Defaults,
    flows: &'r FlowStates,
    aside: &'r RetiredRates,
    pub(super) now: Now,
    /// Nodes that were compiled, by flow and id. A template can be a megabyte long, and a thousand webhooks may trigger
    /// its flow: they share it.
    actions: RefCell<HashMap<(Id, String), Action>>,
}

impl<'r> Wiring<'r> {
    /// Of one compilation, in which nodes are compiled once.
    pub(super) fn new(
        defaults: &'r Defaults,
        flows: &'r FlowStates,
        aside: &'r RetiredRates,
        now: Now,
    ) -> Wiring<'r> {
        Wiring { defaults, flows, aside, now, actions: RefCell::default() }
    }

    /// The action of a node, compiled once. One that no longer compiles (it was checked when the flow was saved) does
    /// nothing.
    fn action(&self, flow: Id, node: &FlowNode, globals: &[u8]) -> Action {
        let key = (flow, node.id.clone());
        if let Some(known) = self.actions.borrow().get(&key) {
            return known.clone();
        }
        let action = action(&node.kind, Some(globals)).unwrap_or_else(|error| {
            tracing::error!(%flow, node = ?node.id, %error, "a node does not compile and does nothing");
            Action::Pass
        });
        self.actions.borrow_mut().insert(key, action.clone());
        action
    }
}

/// Compiles a node. `globals` is what its secrets are rendered over; without it they are checked only.
///
/// # Errors
/// The field below the node's that is not what it must be.
fn action(kind: &NodeKind, globals: Option<&[u8]>) -> Result<Action, ModelError> {
    Ok(match kind {
        NodeKind::WebhookReply(config) => {
            let node = ReplyNode::compile(config);
            Action::Reply(Arc::new(node.map_err(|error| ModelError::new(error.field, error.message))?))
        }
        NodeKind::Conditional(config) => Action::Condition(Arc::new(Condition::compile(config)?)),
        NodeKind::Debug(config) => {
            let template = Template::compile(&config.message);
            let template = template
                .map_err(|error| ModelError::new("config.message", format!("must be a template: {error}")))?;
            if config.message.is_empty() { Action::Pass } else { Action::Debug(Arc::new(template)) }
        }
        NodeKind::Worker(config) => Action::Worker(WorkerPlan {
            ack_timeout_seconds: config.ack_timeout_seconds,
            max_in_flight: config.max_in_flight,
        }),
        NodeKind::HttpForward(config) => {
            Action::Forward(TargetNode::Http(Arc::new(ForwardNode::compile(config, globals)?)))
        }
        NodeKind::Nats(config) => Action::Forward(TargetNode::Nats(Arc::new(NatsNode::compile(config)?))),
        NodeKind::Annotation => Action::Pass,
    })
}

/// Compiles one webhook. `before` is the hook it replaces, whose counts go on.
pub(super) fn hook(
    wiring: &Wiring<'_>,
    application: &ApplicationPart,
    webhook: &Webhook,
    flows: &[impl Borrow<Flow>],
    before: Option<&Hook>,
) -> Hook {
    let defaults = wiring.defaults;
    let limits = &webhook.limits;
    let flows: Box<[Arc<FlowPlan>]> = flows
        .iter()
        .map(Borrow::borrow)
        .filter(|flow: &&Flow| flow.enabled && flow.application_id == webhook.application_id)
        .filter_map(|flow| plan(wiring, application, webhook, flow))
        .map(Arc::new)
        .collect();
    Hook {
        webhook_id: webhook.id,
        token: webhook.token.key(),
        enabled: webhook.enabled,
        is_websocket: webhook.is_websocket,
        wait_for_reply: webhook.wait_for_reply && !webhook.is_websocket,
        annotate_multipart: webhook.annotate_multipart,
        cast: webhook.cast_buffers_as,
        response_code: webhook.response_code,
        payload_bytes: limits.payload_bytes.unwrap_or(defaults.payload_bytes),
        reply_timeout_seconds: limits.reply_timeout_seconds.unwrap_or(defaults.reply_timeout_seconds),
        concurrency_limit: limits.concurrency.unwrap_or(defaults.concurrency),
        options: options(application, webhook, before).boxed(),
        provider: Provider::compile(
            webhook.verification_type,
            &render(application, &webhook.verification_code).unwrap_or_default(),
        ),
        signature: webhook.signature.as_ref().map(|config| Box::new(signature(application, webhook, config))),
        rate: rate(wiring, webhook, before),
        concurrency: before
            .map_or_else(|| Arc::new(concurrency(defaults)), |hook| Arc::clone(&hook.concurrency)),
        reads: reads(webhook.is_websocket, &flows),
        flows,
    }
}

/// Compiles a webhook for one of its earlier tokens. The counts are those of its own hook.
pub(super) fn alias(
    wiring: &Wiring<'_>,
    application: &ApplicationPart,
    webhook: &Webhook,
    previous: &PreviousToken,
    flows: &[impl Borrow<Flow>],
    own: &Hook,
) -> Hook {
    let mut alias = hook(wiring, application, webhook, flows, Some(own));
    alias.token = previous.token.key();
    alias.options.get_or_insert_default().ends_millis = Some(previous.ends_millis);
    alias
}

/// The parts of an event that the nodes that can run read.
fn reads(is_websocket: bool, flows: &[Arc<FlowPlan>]) -> Reads {
    let mut parts = Parts::NONE;
    let steps = || flows.iter().flat_map(|plan| &plan.steps);
    if steps().any(|step| step.action.delivers()) {
        let has_raw = steps().any(|step| match &step.action {
            Action::Forward(TargetNode::Http(node)) => matches!(node.body, BodySource::Raw),
            _ => false,
        });
        return Reads::Whole { has_raw };
    }
    for step in steps() {
        match &step.action {
            // One that is for the other kind of caller can only answer a `replyId` that it finds elsewhere.
            Action::Reply(node)
                if !node.answers_trigger() || node.only_for() == CallerKind::of(is_websocket) =>
            {
                node.reads(&mut |read| parts = parts.union(Parts::of(read)));
            }
            Action::Condition(condition) => {
                condition.reads(&mut |read| parts = parts.union(Parts::of(read)));
            }
            Action::Debug(template) => template.reads(&mut |read| parts = parts.union(Parts::of(read))),
            Action::Reply(_) | Action::Worker(_) | Action::Forward(_) | Action::Pass => {}
        }
    }
    Reads::Templates(parts)
}

fn concurrency(defaults: &Defaults) -> Concurrency {
    if defaults.shares_limits { Concurrency::shared() } else { Concurrency::new() }
}

fn rate(wiring: &Wiring<'_>, webhook: &Webhook, before: Option<&Hook>) -> Option<Arc<Rate>> {
    let (defaults, aside, now) = (wiring.defaults, wiring.aside, wiring.now);
    let before = before.and_then(|hook| hook.rate.as_ref());
    let tokens = webhook.limits.requests_per_window.unwrap_or(defaults.requests_per_window);
    let window = webhook.limits.window_seconds.unwrap_or(defaults.window_seconds);
    if tokens == 0 {
        if let Some(rate) = before {
            aside.put(webhook.id, rate, now);
        }
        return None;
    }
    if let Some(rate) = before.cloned().or_else(|| aside.take(webhook.id)) {
        rate.reconfigure(tokens, window, now);
        return Some(rate);
    }
    let make = if defaults.shares_limits { Rate::shared } else { Rate::new };
    Some(Arc::new(make(defaults.cores, tokens, window)))
}

/// Credentials are templates over the globals, rendered now and not when a request comes
/// ([verification](crate::guide::verification#verification)).
fn basic(application: &ApplicationPart, webhook: &Webhook) -> Option<Basic> {
    let username = render(application, &webhook.basic_auth_username);
    let password = render(application, &webhook.basic_auth_password);
    Basic::compile(field(username.as_deref()), field(password.as_deref()))
}

fn options(application: &ApplicationPart, webhook: &Webhook, before: Option<&Hook>) -> HookOptions {
    let options = &webhook.options;
    HookOptions {
        basic: basic(application, webhook),
        auth: options.auth.as_ref().map(|config| auth(application, webhook, config)),
        methods: options.methods,
        networks: options.allowed_networks.as_deref().map(Into::into),
        response_body: options.response_body.clone().map(Arc::new),
        cors: options.cors.clone().map(Box::new),
        deduplicate: options.deduplicate.as_ref().and_then(|config| {
            let before = before.and_then(Hook::deduplicate);
            deduplicate(application, webhook, config, before).map(Box::new)
        }),
        raw_body: options.raw_body,
        record_events: options.record.map(|record| record.events),
        ends_millis: None,
    }
}

/// Keys stay taken while their template stays. One that no longer compiles (it was checked when it was saved) tells no
/// repeats.
fn deduplicate(
    application: &ApplicationPart,
    webhook: &Webhook,
    config: &DeduplicateConfig,
    before: Option<&Deduplicate>,
) -> Option<Deduplicate> {
    let key = Template::compile(&config.key).ok()?;
    let mut reads = Parts::NONE;
    key.reads(&mut |read| reads = reads.union(Parts::of(read)));
    let kept = before.filter(|before| *before.source == *config.key);
    Some(Deduplicate {
        source: config.key.as_str().into(),
        mark: TemplateMark::of(&config.key),
        reads,
        key,
        tail: Tail::of_webhook(
            application.id,
            &application.name,
            webhook.id,
            Arc::clone(&application.globals),
        ),
        window_millis: u64::from(config.window_seconds) * MILLIS_PER_SECOND,
        keys: kept.map_or_else(Arc::default, |before| Arc::clone(&before.keys)),
    })
}

const MILLIS_PER_SECOND: u64 = 1_000;

fn auth(application: &ApplicationPart, webhook: &Webhook, config: &AuthConfig) -> Auth {
    let values = |named: &NamedSecret| {
        Values::new(
            named.value.as_slice().iter().map(|source| render(application, source).unwrap_or_default()),
        )
    };
    match config {
        AuthConfig::Header(named) => Auth::Header { name: named.name.as_str().into(), values: values(named) },
        AuthConfig::Query(named) => Auth::Query { name: named.name.as_str().into(), values: values(named) },
        AuthConfig::Jwt(config) => Auth::Jwt(Box::new(jwt(application, webhook, config))),
    }
}

/// A key that is none (a global may hold anything) verifies nothing, as one that renders empty does: the others of a
/// rotation go on.
fn jwt(application: &ApplicationPart, webhook: &Webhook, config: &JwtConfig) -> Jwt {
    let all = |keys: &Secrets| {
        keys.as_slice().iter().map(|source| render(application, source).unwrap_or_default()).collect()
    };
    let rendered = match &config.keys {
        JwtKeys::Secret(secrets) => RenderedKeys::Secrets(all(secrets)),
        JwtKeys::Public(keys) => RenderedKeys::Public(all(keys)),
        JwtKeys::Url(url) => RenderedKeys::Url(url.clone()),
    };
    Jwt::compile(config, rendered, |index, error| {
        tracing::warn!(webhook = %webhook.id, %error, index, "a key verifies nothing");
    })
}

/// A secret that its scheme cannot use (a global may hold anything) matches nothing, as one that renders empty does:
/// the others of a rotation go on.
pub(super) fn signature(
    application: &ApplicationPart,
    webhook: &Webhook,
    config: &SignatureConfig,
) -> Signature {
    let mut secrets: Vec<String> = config
        .secret
        .as_slice()
        .iter()
        .map(|source| render(application, source).unwrap_or_default())
        .collect();
    loop {
        match Signature::compile(&config.scheme, &secrets) {
            Ok(signature) => return signature,
            Err(error) => {
                tracing::warn!(webhook = %webhook.id, %error, index = error.index, "a secret matches nothing");
                secrets[error.index].clear();
            }
        }
    }
}

fn field(rendered: Option<&str>) -> CredentialField<'_> {
    rendered.map_or(CredentialField::Blank, CredentialField::Rendered)
}

/// A template over the globals; none where it is blank. One that does not compile (it was checked when it was saved)
/// renders empty, which refuses everything.
pub(super) fn render(application: &ApplicationPart, source: &str) -> Option<String> {
    if source.is_empty() {
        return None;
    }
    let Ok(template) = Template::compile(source) else { return Some(String::new()) };
    let mut text = Vec::new();
    // One that renders too much counts as empty too.
    let rendered =
        template.render(&GlobalsRoot::new(Raw::trusted(&application.globals)), Escape::None, &mut text);
    Some(if rendered.is_ok() { String::from_utf8(text).unwrap_or_default() } else { String::new() })
}

/// The flow as this webhook triggers it; none where no trigger of it is on the webhook.
pub(super) fn plan(
    wiring: &Wiring<'_>,
    application: &ApplicationPart,
    webhook: &Webhook,
    flow: &Flow,
) -> Option<FlowPlan> {
    if !flow.triggers.iter().any(|trigger| trigger.webhook() == Some(webhook.id)) {
        return None;
    }
    let wires = flow.wires(webhook.id);
    let globals = application.globals_of(flow);
    let step = |position: &usize| {
        let node = &flow.nodes[*position];
        Step { node_id: node.id.as_str().into(), action: wiring.action(flow.id, node, &globals) }
    };
    let mut steps: Box<[Step]> = wires.order.iter().map(step).collect();
    let branches = branches(&wires, &steps).map(Box::new);
    if branches.is_none() {
        // Conditions that nothing stands behind decide nothing.
        for step in steps.iter_mut().filter(|step| matches!(step.action, Action::Condition(_))) {
            step.action = Action::Pass;
        }
    }
    let tail =
        Tail::new(application.id, &application.name, webhook.id, flow.id, &flow.name, Arc::clone(&globals));
    let backlog = wiring.flows.backlog(flow.id);
    let runs = wiring.flows.runs(flow.id);
    Some(FlowPlan {
        flow_id: flow.id,
        webhook_id: webhook.id,
        reply_bytes_max: webhook.limits.payload_bytes.unwrap_or(wiring.defaults.payload_bytes),
        backlog,
        runs,
        tail: Arc::new(tail),
        steps,
        branches,
    })
}

/// The wires as a walk needs them; `None` where no condition decides anything and no step stands behind a delivery.
fn branches(wires: &Wires, steps: &[Step]) -> Option<Branches> {
    let decides = |(step, behind): (&Step, &[Vec<usize>; 2])| {
        let is_later = matches!(step.action, Action::Condition(_)) || step.action.delivers();
        is_later && behind.iter().any(|places| !places.is_empty())
    };
    if !steps.iter().zip(&wires.behind).any(decides) {
        return None;
    }
    // A flow has at most a thousand nodes.
    let places = |places: &Vec<usize>| places.iter().filter_map(|place| u16::try_from(*place).ok()).collect();
    let behind = wires.behind.iter().map(|behind| [places(&behind[0]), places(&behind[1])]);
    Some(Branches { first: places(&wires.first), behind: behind.collect() })
}

/// Whether the webhook's templates compile.
///
/// # Errors
/// The first that does not, with its field.
pub fn check_webhook(webhook: &Webhook) -> Result<(), ModelError> {
    let fields = [
        ("verificationCode", &webhook.verification_code),
        ("basicAuthUsername", &webhook.basic_auth_username),
        ("basicAuthPassword", &webhook.basic_auth_password),
    ];
    for (field, source) in fields {
        check_template(field, source)?;
    }
    if let Some(config) = &webhook.options.auth {
        check_auth(config)?;
    }
    if let Some(config) = &webhook.options.deduplicate {
        check_template("deduplicate.key", &config.key)?;
    }
    webhook.signature.as_ref().map_or(Ok(()), |config| check_signature(webhook, config))
}

fn check_auth(config: &AuthConfig) -> Result<(), ModelError> {
    let (field, sources) = match config {
        AuthConfig::Header(named) | AuthConfig::Query(named) => ("auth.value", &named.value),
        AuthConfig::Jwt(jwt) => match &jwt.keys {
            JwtKeys::Secret(secrets) => ("auth.secret", secrets),
            JwtKeys::Public(keys) => ("auth.key", keys),
            JwtKeys::Url(_) => return Ok(()),
        },
    };
    for source in sources.as_slice() {
        let template = check_template(field, source)?;
        // What globals may bring is known only when it is rendered.
        if let (true, Some(key)) = (field == "auth.key", template.constant()) {
            KeySet::check_pem(key).map_err(|error| ModelError::new(field, error.to_string()))?;
        }
    }
    Ok(())
}

fn check_template(field: &str, source: &str) -> Result<Template, ModelError> {
    Template::compile(source).map_err(|error| ModelError::new(field, format!("must be a template: {error}")))
}

fn check_signature(webhook: &Webhook, config: &SignatureConfig) -> Result<(), ModelError> {
    if webhook.is_websocket {
        return Err(ModelError::new(
            "signature",
            "must be null on a WebSocket webhook: an upgrade and its messages carry no signature",
        ));
    }
    for source in config.secret.as_slice() {
        let template = check_template("signature.secret", source)?;
        // What globals may bring is known only when it is rendered.
        if let Some(secret) = template.constant() {
            Signature::compile(&config.scheme, &[secret])
                .map_err(|SecretError { must, .. }| ModelError::new("signature.secret", must))?;
        }
    }
    Ok(())
}

/// Whether the flow's nodes compile.
///
/// # Errors
/// The first that does not, with its field.
pub fn check_flow(flow: &Flow) -> Result<(), ModelError> {
    for (index, node) in flow.nodes.iter().enumerate() {
        action(&node.kind, None)
            .map_err(|error| ModelError::new(format!("nodes[{index}].{}", error.field()), error.message()))?;
    }
    Ok(())
}
