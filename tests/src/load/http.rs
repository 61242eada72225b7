//! Just enough HTTP/1.1 to ask and to know that an answer is whole.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LINE_MAX: u64 = 16 * 1024;
const HEADERS_MAX: usize = 200;
const BODY_MAX: u64 = 64 << 20;

/// What came back, in full.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The header `x-release`.
    pub(crate) release: Option<String>,
    /// Whether the kept connection was closed by the server and had to be opened again.
    pub(crate) reopened: bool,
}

/// The head of an answer, and what it says of its body and of the connection.
#[derive(Debug, Default)]
struct Head {
    status: u16,
    release: Option<String>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

/// One client with at most one connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    request: Vec<u8>,
    keep_alive: bool,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: &str, host: &str, path: &str, keep_alive: bool, timeout: Duration) -> Self {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roadstead-load\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n");
        Self { address: address.to_owned(), request: request.into_bytes(), keep_alive, timeout, connection: None }
    }

    /// Asks once and reads the whole answer.
    pub(crate) fn get(&mut self) -> Result<Answer> {
        if let Some(connection) = self.connection.take() {
            match self.ask(connection) {
                Err(error) if closed_unasked(&error) => {
                    let connection = self.connect()?;
                    return self.ask(connection).map(|answer| Answer { reopened: true, ..answer });
                }
                answer => return answer,
            }
        }
        let connection = self.connect()?;
        self.ask(connection)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let address: SocketAddr = self.address.parse().map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
        let stream = TcpStream::connect_timeout(&address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }

    fn ask(&mut self, mut connection: BufReader<TcpStream>) -> Result<Answer> {
        connection.get_mut().write_all(&self.request).map_err(unasked)?;
        // not a byte of an answer: the server had closed before it read the request
        if connection.fill_buf().map_err(unasked)?.is_empty() {
            return Err(unasked(ErrorKind::UnexpectedEof.into()));
        }
        let head = read_head(&mut connection)?;
        let keeps = read_body(&mut connection, &head)?;
        if self.keep_alive && keeps && !head.close {
            self.connection = Some(connection);
        }
        Ok(Answer { status: head.status, release: head.release, reopened: false })
    }
}

/// Marks an error that came before the first byte of an answer.
fn unasked(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            Error::new(error.kind(), "the connection was closed before an answer")
        }
        _ => error,
    }
}

fn closed_unasked(error: &Error) -> bool {
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
    kinds.contains(&error.kind()) && error.to_string().starts_with("the connection was closed before an answer")
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn read_line(connection: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    connection.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(invalid("the answer ended in the middle of a line"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn read_head(connection: &mut impl BufRead) -> Result<Head> {
    let first = read_line(connection)?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut head =
        Head { status: status.ok_or_else(|| invalid("no HTTP status line"))?, close: first.starts_with("HTTP/1.0"), ..Head::default() };
    for _ in 0..HEADERS_MAX {
        let line = read_line(connection)?;
        if line.is_empty() {
            return Ok(head);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = Some(value.parse().map_err(|_| invalid("a content-length that is no number"))?),
            "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            "x-release" => head.release = Some(value.to_owned()),
            _ => {}
        }
    }
    Err(invalid("too many headers"))
}

/// Reads the body to its end and says whether another answer can follow on the connection.
fn read_body(connection: &mut impl BufRead, head: &Head) -> Result<bool> {
    if matches!(head.status, 204 | 304) {
        return Ok(true);
    }
    if head.chunked {
        let mut total = 0;
        loop {
            let line = read_line(connection)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a size"))?;
            total += skip(connection, size)?;
            if !read_line(connection)?.is_empty() {
                return Err(invalid("a chunk that is longer than it says"));
            }
            if size == 0 {
                return Ok(true);
            }
            if total > BODY_MAX {
                return Err(invalid("a body without an end"));
            }
        }
    }
    match head.length {
        Some(length) => skip(connection, length).map(|_| true),
        None => std::io::copy(&mut connection.take(BODY_MAX), &mut std::io::sink()).map(|_| false),
    }
}

fn skip(connection: &mut impl BufRead, size: u64) -> Result<u64> {
    if size > BODY_MAX {
        return Err(invalid("a body that is too long"));
    }
    let read = std::io::copy(&mut connection.take(size), &mut std::io::sink())?;
    if read == size { Ok(size) } else { Err(invalid("the answer ended in the middle of its body")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Head, bool)> {
        let mut bytes = text.as_bytes();
        let head = read_head(&mut bytes)?;
        let keeps = read_body(&mut bytes, &head)?;
        Ok((head, keeps))
    }

    #[test]
    fn whole_answers_are_read() {
        let (head, keeps) = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Release: 1.0-abc\r\n\r\nok").unwrap();
        assert_eq!((head.status, head.release.as_deref(), keeps), (200, Some("1.0-abc"), true));
        let (head, keeps) = read("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n").unwrap();
        assert_eq!((head.status, keeps), (503, true));
        let (head, keeps) = read("HTTP/1.0 200 OK\r\n\r\nuntil the end").unwrap();
        assert_eq!((head.status, keeps, head.close), (200, false, true));
    }

    #[test]
    fn broken_answers_are_failures() {
        for text in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
