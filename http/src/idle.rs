//! A connection that ends where nothing comes or goes any more.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream with a clock that every byte, in either direction, winds up again.
#[derive(Debug)]
pub(crate) struct Idle<Stream> {
    stream: Stream,
    clock: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// What an idle connection's error is made of.
#[derive(Debug)]
struct IsIdle;

impl fmt::Display for IsIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing came or went for too long")
    }
}

impl std::error::Error for IsIdle {}

/// Whether an error is that of a connection that was idle.
pub(crate) fn is_idle(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<IsIdle>())
}

impl<Stream> Idle<Stream> {
    pub(crate) fn new(stream: Stream, most: Option<Duration>) -> Self {
        Self { stream, clock: most.map(|most| (most, Box::pin(sleep(most)))) }
    }

    /// What moved winds the clock up; what waits, waits for it, too.
    fn watched<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some((most, clock)) = &mut self.clock else { return polled };
        if polled.is_ready() {
            clock.as_mut().reset(Instant::now() + *most);
            return polled;
        }
        ready!(clock.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, IsIdle)))
    }
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Idle<Stream> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watched(polled, context)
    }
}

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Idle<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush, and that it had nothing is no movement.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
