//! The few parts of a transfer that wait for the connection. Whoever ends the transfer empties it, even when the connection never
//! asks again: what nobody takes holds no memory beyond its deadline.

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::Status;

use super::Sent;

/// Parts on their way that the connection has not taken yet.
const QUEUE: usize = 16;

/// What is on its way.
#[derive(Debug)]
enum State {
    Open(mpsc::Receiver<Sent>),
    Ended(Option<Status>),
}

/// A transfer, as its owner sees it.
#[derive(Debug)]
pub(super) struct Line {
    state: Mutex<State>,
    asking: AtomicWaker,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the transfer: what waits is dropped, and whoever takes the next part is told why.
    pub(super) fn end(&self, why: Status) {
        *self.state() = State::Ended(Some(why));
        self.asking.wake();
    }
}

/// A transfer, as the connection takes it.
#[derive(Debug)]
pub(in crate::api) struct Taken(Arc<Line>);

/// A new transfer: where parts go in, and where they come out.
pub(super) fn line() -> (mpsc::Sender<Sent>, Taken) {
    let (parts, queue) = mpsc::channel(QUEUE);
    (parts, Taken(Arc::new(Line { state: Mutex::new(State::Open(queue)), asking: AtomicWaker::new() })))
}

impl Taken {
    /// The owner's view, which does not keep the transfer alive.
    pub(super) fn line(&self) -> Weak<Line> {
        Arc::downgrade(&self.0)
    }
}

impl Stream for Taken {
    type Item = Sent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Sent>> {
        self.0.asking.register(context.waker());
        match &mut *self.0.state() {
            State::Open(queue) => queue.poll_recv(context),
            State::Ended(why) => Poll::Ready(why.take().map(Err)),
        }
    }
}
