//! Reports of calls: a line of the log for each (`log.requests`), and spans (`tracing.otlp`).
//!
//! A core leaves a call in a bounded queue, without a system call; threads of this module look into the queues some times
//! a second. What does not fit is dropped and counted.

mod log;
mod queue;
mod spans;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use self::log::TARGET;
use self::queue::Queue;
use self::spans::{AttemptSpan, Spanned};
use crate::base::clock::Now;
use crate::base::trace::{TRACEPARENT_FIELD, TraceContext};
use crate::control::forward::AttemptSink;
use crate::engine::{Attempt, AttemptResult, CallSink, ServedCall};
use crate::registry::TargetNode;
use crate::settings::{LogRequests, Settings};

/// Calls that wait to be written: two seconds of a process that answers some 8,000 a second.
const LOGGED_MAX: usize = 16_384;
/// How often the thread that writes looks for calls. What reads the log hardly notices.
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// Spans that wait to be sent: some seconds of a busy process.
const SPANS_MAX: usize = 16_384;

/// The queues of calls.
pub(crate) struct Calls {
    requests: LogRequests,
    logged: Queue<ServedCall>,
    /// `None`: no traces are kept.
    spans: Option<Queue<Spanned>>,
}

/// The threads that empty the queues.
pub(crate) struct CallThreads {
    calls: Arc<Calls>,
    threads: Vec<JoinHandle<()>>,
}

impl CallThreads {
    /// Starts the threads that the settings ask for; `None` if nothing is told of calls.
    ///
    /// # Errors
    /// If a thread cannot be started, or the exporter of spans not be set up.
    pub(crate) fn start(settings: &Settings) -> io::Result<Option<CallThreads>> {
        let (requests, endpoint) = (settings.log_requests, settings.tracing_otlp.as_deref());
        if requests == LogRequests::Off && endpoint.is_none() {
            return Ok(None);
        }
        let calls = Arc::new(Calls {
            requests,
            logged: Queue::new(LOGGED_MAX),
            spans: endpoint.map(|_| Queue::new(SPANS_MAX)),
        });
        let mut threads = Vec::new();
        if requests != LogRequests::Off {
            let own = Arc::clone(&calls);
            threads.push(spawn("request-log", move || {
                own.logged.serve(LOG_PAUSE, |calls| calls.iter().for_each(log::write));
            })?);
        }
        if let Some(endpoint) = endpoint {
            let (own, export) = (Arc::clone(&calls), spans::exporter(endpoint)?);
            threads.push(spawn("spans", move || {
                if let Some(spans) = &own.spans {
                    export(spans);
                }
            })?);
        }
        Ok(Some(CallThreads { calls, threads }))
    }

    /// The queues.
    #[must_use]
    pub(crate) fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Ends the threads once they have told of every call that is in the queues.
    pub(crate) fn finish(self) {
        self.calls.logged.close();
        if let Some(spans) = &self.calls.spans {
            spans.close();
        }
        for thread in self.threads {
            thread.thread().unpark();
            // A thread that has panicked has told all that it could.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

impl Calls {
    /// Appends what was dropped, for the metrics page.
    pub(crate) fn render(&self, page: &mut String) {
        const NAME: &str = "tidegate_calls_untold_total";
        let traces = self.spans.as_ref().map_or(0, Queue::dropped);
        // A string takes everything.
        let _ = writeln!(
            page,
            "# HELP {NAME} Calls that were left out of the log, and spans that were not sent.\n# TYPE {NAME} counter\n\
             {NAME}{{of=\"log\"}} {}\n{NAME}{{of=\"traces\"}} {traces}",
            self.logged.dropped()
        );
    }

    /// Whether attempts to deliver are to have spans.
    #[must_use]
    pub(crate) fn has_spans(&self) -> bool {
        self.spans.is_some()
    }
}

impl AttemptSink for Calls {
    fn attempted(&self, attempt: &Attempt, span: u64, began: Now, ended: Now, result: &AttemptResult) {
        let Some(spans) = &self.spans else { return };
        let parent = attempt.payload.header(TRACEPARENT_FIELD);
        let Some(parent) = parent.and_then(|parent| TraceContext::parse(parent.as_bytes())) else { return };
        if !parent.is_sampled {
            return;
        }
        let (status, error) = match result {
            AttemptResult::Answered(answer) => (Some(answer.status), None),
            AttemptResult::Published => (None, None),
            AttemptResult::Failed(error) => (None, Some(error.to_string())),
        };
        let method = match &attempt.node {
            TargetNode::Http(node) => node.method.as_str(),
            TargetNode::Nats(_) => "PUBLISH",
        };
        spans.push(Spanned::Attempt(Box::new(AttemptSpan {
            context: parent.child(span),
            parent: parent.span,
            began_unix_millis: began.unix_millis,
            duration_nanos: ended.nanos.saturating_sub(began.nanos),
            method,
            target: Arc::clone(attempt.node.target()),
            delivery: Arc::clone(&attempt.id),
            status,
            error,
        })));
    }
}

impl CallSink for Calls {
    fn call(&self, call: ServedCall) {
        let is_logged = match self.requests {
            LogRequests::Off => false,
            LogRequests::Refused => call.refusal.is_some(),
            LogRequests::All => true,
        };
        match &self.spans {
            Some(spans) if call.span.is_some() => {
                if is_logged {
                    self.logged.push(call.clone());
                }
                spans.push(Spanned::Call(Box::new(call)));
            }
            _ if is_logged => self.logged.push(call),
            _ => {}
        }
    }

    fn wants_all(&self) -> bool {
        self.requests == LogRequests::All || self.has_spans()
    }

    fn wants_spans(&self) -> bool {
        self.has_spans()
    }
}
