//! Continues a publisher's trace: a span with a field `traceparent` becomes a child of the span it names.

use std::any::TypeId;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer, registry::LookupSpan};

/// A layer that makes spans, told about parents in other processes.
pub struct RemoteParent<L>(pub L);

impl<S, L> Layer<S> for RemoteParent<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: layer::Context<'_, S>) {
        let mut traceparent = Traceparent(None);
        attrs.record(&mut traceparent);
        // In force while the inner layer looks for a parent, and only then.
        let _parent = traceparent
            .0
            .map(|parent| Context::new().with_remote_span_context(parent).attach());
        self.0.on_new_span(attrs, id, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: layer::Context<'_, S>) {
        self.0.on_record(id, values, ctx);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: layer::Context<'_, S>) {
        self.0.on_follows_from(id, follows, ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: layer::Context<'_, S>) {
        self.0.on_event(event, ctx);
    }

    fn on_enter(&self, id: &Id, ctx: layer::Context<'_, S>) {
        self.0.on_enter(id, ctx);
    }

    fn on_exit(&self, id: &Id, ctx: layer::Context<'_, S>) {
        self.0.on_exit(id, ctx);
    }

    fn on_close(&self, id: Id, ctx: layer::Context<'_, S>) {
        self.0.on_close(id, ctx);
    }

    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        // SAFETY: what the inner layer points to lives in it, and so as long as this one.
        unsafe { self.0.downcast_raw(id) }
    }
}

struct Traceparent(Option<SpanContext>);

impl Visit for Traceparent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "traceparent" {
            self.0 = parse(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Reads version 00 (W3C Trace Context, section 3.2), and nothing else.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut next = |len: usize| parts.next().filter(|part| part.len() == len);
    let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Collected(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Collected {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn a_publish_belongs_to_its_publishers_trace() {
        let collected = Collected::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(collected.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(RemoteParent(layer));
        tracing::subscriber::with_default(subscriber, || {
            let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let publish = tracing::info_span!("publish", traceparent);
            publish.in_scope(|| drop(tracing::info_span!("propose")));
            drop(publish);
            drop(tracing::info_span!("unrelated"));
        });
        let spans = collected.0.lock().unwrap();
        let trace = |name: &str| {
            let span = spans.iter().find(|span| span.name == name).unwrap();
            span.span_context.trace_id().to_string()
        };
        assert_eq!(trace("publish"), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace("propose"), trace("publish"));
        assert_ne!(trace("unrelated"), trace("publish"));
    }

    #[test]
    fn a_trace_that_begins_here_is_continued_by_what_carries_it() {
        let collected = Collected::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(collected.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let all = tracing_subscriber::filter::LevelFilter::INFO;
        let layer = RemoteParent(layer).with_filter(all);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let publish = tracing::info_span!("publish");
            let traceparent = crate::telemetry::traceparent_of(&publish).unwrap();
            let traceparent = traceparent.as_str();
            drop(tracing::info_span!("propose", traceparent));
        });
        let spans = collected.0.lock().unwrap();
        let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (publish, propose) = (span("publish"), span("propose"));
        assert_eq!(publish.parent_span_id, SpanId::INVALID);
        assert_eq!(propose.parent_span_id, publish.span_context.span_id());
        let trace = publish.span_context.trace_id();
        assert_eq!(propose.span_context.trace_id(), trace);
        assert!(crate::telemetry::traceparent_of(&tracing::Span::none()).is_none());
    }

    #[test]
    fn what_is_no_traceparent_is_no_parent() {
        for text in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-éaf7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
