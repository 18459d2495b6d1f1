//! Request bodies that nobody reads to their end.
//!
//! The server answers before it has read the whole body when it refuses a request. With a length it
//! then closes, lingering for a moment so that the client reads the answer. With a chunked body it
//! waits for its end instead, without a time-out, if the body's receiver is gone: a client that
//! stalls there keeps its connection for ever. So the receiver lives as long as the response's body.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

/// A body that is read through one handle and kept alive by another.
#[derive(Clone)]
pub(super) struct Kept(Rc<RefCell<Payload>>);

impl Stream for Kept {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// Keeps the body of a request; `None` if it has none.
pub(super) fn keep(req: &mut ServiceRequest) -> Option<Kept> {
    let payload = req.take_payload();
    if matches!(payload, Payload::None) {
        return None;
    }
    let kept = Kept(Rc::new(RefCell::new(payload)));
    req.set_payload(Payload::Stream {
        payload: Box::pin(kept.clone()),
    });
    Some(kept)
}

/// A response body that lets the request's body live until it is sent.
pub(super) struct Keeping {
    body: BoxBody,
    _request: Option<Kept>,
}

impl Keeping {
    pub(super) fn new(body: impl MessageBody + 'static, request: Option<Kept>) -> Self {
        Self {
            body: body.boxed(),
            _request: request,
        }
    }
}

impl MessageBody for Keeping {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
