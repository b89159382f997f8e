//! Ends streams of services that know nothing of draining, such as a watch of the health.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use highwater_broker::Refusal;
use highwater_proto::ErrorCode;
use http_body::Frame;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::status::to_status;
use crate::serve::Connection;

/// Ends the response with `draining` once its connection is to end and nothing more is ready.
pub async fn until_draining(request: Request, next: Next) -> Response {
    let draining = Connection::of(request.extensions()).draining;
    next.run(request).await.map(|inner| {
        Body::new(UntilDraining {
            inner,
            draining: Some(Box::pin(draining.cancelled_owned())),
        })
    })
}

struct UntilDraining {
    inner: Body,
    /// Nothing once the end was sent.
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl http_body::Body for UntilDraining {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Some(draining) = &mut this.draining else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(draining.as_mut().poll(cx));
        this.draining = None;
        let refusal = Refusal::new(ErrorCode::Draining, "the node is about to stop");
        let (mut head, ()) = to_status(&refusal).into_http::<()>().into_parts();
        head.headers.remove(http::header::CONTENT_TYPE);
        Poll::Ready(Some(Ok(Frame::trailers(head.headers))))
    }

    fn is_end_stream(&self) -> bool {
        self.draining.is_none() || self.inner.is_end_stream()
    }
}
