//! Logs on one writer and, when configured, traces to a collector.
//!
//! Neither ever holds a payload or a secret: spans and events carry ids, names and counts.

use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, ParseError, filter_fn},
    fmt,
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Config, LogFormat, Traces};

mod remote_parent;

use remote_parent::RemoteParent;

/// Keeps traces flowing; flushes them when asked to stop.
#[derive(Debug)]
#[must_use = "traces are flushed by `stop`"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Sets up logs and traces for the whole process. Call it before the runtime starts: the exporter
/// brings its own thread.
///
/// # Errors
/// When it was done before, or the collector's address cannot be used.
pub fn start(config: &Config, logs: BoxMakeWriter) -> anyhow::Result<Telemetry> {
    let traces = config.traces.as_ref();
    let traces = traces.map(|traces| provider(config, traces)).transpose()?;
    let spans = traces.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("highwater"));
        // What the exporter does is not traced, or every export would cause another; nor are tasks.
        RemoteParent(layer)
            .with_filter(filter_fn(|meta| {
                meta.target().starts_with("highwater") && *meta.level() <= Level::INFO
            }))
            .boxed()
    });
    let text = fmt::layer().with_writer(logs);
    let text = match config.log.format {
        LogFormat::Json => text.json().flatten_event(true).boxed(),
        LogFormat::Text => text.compact().with_ansi(false).boxed(),
    };
    let text = text.with_filter(filter(&config.log.level)?).boxed();
    tracing_subscriber::registry()
        .with(list(text, spans))
        .try_init()?;
    Ok(Telemetry { traces })
}

type BoxLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A list, not one layer on the other: one that is absent would count as one that wants everything. What
/// the filter refuses would then be asked about each time, and take the next line that is logged along.
fn list(text: BoxLayer, spans: Option<BoxLayer>) -> Vec<BoxLayer> {
    std::iter::once(text).chain(spans).collect()
}

/// What is logged: no spans about single messages, whatever the level. A level alone is meant for Highwater itself, which says in its own words when a peer
/// is away; of the libraries below it, only errors are logged then, and traces that were dropped.
///
/// # Errors
/// When it is no such filter.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let filter = match level.parse::<LevelFilter>() {
        Ok(own) => {
            let traces = own.min(LevelFilter::WARN);
            let libraries = own.min(LevelFilter::ERROR);
            EnvFilter::try_new(format!(
                "{libraries},opentelemetry={traces},highwater={own}"
            ))
        }
        Err(_) => EnvFilter::try_new(level),
    }?;
    let no_spans = format!("{}=off", highwater_proto::trace::TARGET).parse()?;
    Ok(filter.add_directive(no_spans))
}

fn provider(config: &Config, traces: &Traces) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!(
            "{}/v1/traces",
            traces.endpoint.trim_end_matches('/')
        ))
        .build()?;
    let resource = Resource::builder()
        .with_service_name("highwater")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.instance.id",
            config.node.to_string(),
        ))
        .build();
    // Which traces begin here is decided where they begin.
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build())
}

/// The W3C trace context (version 00) of a span that is collected.
pub(crate) fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags());
    (span.is_valid() && span.is_sampled()).then(|| format!("00-{trace}-{id}-{flags:02x}"))
}

impl Telemetry {
    /// Sends what is left to the collector. Blocks.
    pub fn stop(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn no_line_is_lost_behind_one_that_is_not_logged() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let text = fmt::layer().with_writer(Written(written.clone()));
        let text = text.with_filter(filter("info").unwrap()).boxed();
        let subscriber = tracing_subscriber::registry().with(list(text, None));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..3 {
                tracing::debug!(number, "not logged");
                tracing::info!(number, "logged");
            }
        });
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 3, "{written}");
    }

    struct Written(Arc<Mutex<Vec<u8>>>);

    impl fmt::MakeWriter<'_> for Written {
        type Writer = Written;

        fn make_writer(&self) -> Written {
            Written(self.0.clone())
        }
    }

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_level_alone_is_meant_for_this_project() {
        for (level, expected) in [
            ("debug", "opentelemetry=warn,highwater=debug,error"),
            ("error", "opentelemetry=error,highwater=error,error"),
            ("info,tower=debug", "tower=debug,info"),
        ] {
            let expected = format!("highwater::trace=off,{expected}");
            assert_eq!(filter(level).unwrap().to_string(), expected);
        }
        assert!(filter("highwater=loud").is_err());
    }
}
