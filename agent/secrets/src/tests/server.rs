//! A server that says what it is told to, word for word: for what a real one does not do when it is asked.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// An answer with a body.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// An address where nobody listens.
pub(super) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Two servers that send everybody on to one another.
pub(super) async fn each_other() -> (Server, Server) {
    let other = Arc::<Mutex<String>>::default();
    let known = Arc::clone(&other);
    let to = |url: &str| answer("307 Temporary Redirect", &format!("Location: {url}/v1/x\r\n"), "");
    let one = Server::start(move |_| to(&known.lock().unwrap())).await;
    let back = one.url.clone();
    let second = Server::start(move |_| to(&back)).await;
    other.lock().unwrap().clone_from(&second.url);
    (one, second)
}

impl Server {
    /// One that answers each request with what is made of it.
    pub(super) async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::with(Some(Arc::new(answer))).await
    }

    /// One that takes requests and says nothing.
    pub(super) async fn silent() -> Self {
        Self::with(None).await
    }

    async fn with(answer: Option<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request.clone());
                match &answer {
                    Some(answer) => drop(stream.write_all(&answer(&request)).await),
                    None => open.push(stream),
                }
            }
        });
        Self { url, asked }
    }

    /// The requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part).await {
        bytes.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            return text;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
