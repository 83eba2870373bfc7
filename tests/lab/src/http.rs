//! A small HTTP/1.1 client whose connection starts in a namespace of choice.
//!
//! Own code, since it is little and no library lets the caller make the socket
//! on one thread (in the namespace) and use it on another.

use crate::netns::Netns;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest body that is read; the lab asks for nothing larger.
const MAX_BODY: u64 = 64 << 20;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    body: Vec<u8>,
    content_type: &'static str,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decoded when it came in chunks.
    pub body: Vec<u8>,
    /// From before the connection was opened until the body's end.
    pub took: Duration,
}

impl Response {
    /// A header's first value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    /// GET of a path, query included.
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: Vec::new(), content_type: "application/json" }
    }

    /// A request with a JSON body. `method` is POST, PUT, PATCH or DELETE; PATCH
    /// is sent as a merge patch (RFC 7386).
    pub fn json(method: &'static str, path: &str, body: &serde_json::Value) -> Self {
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        Self { method, path: path.to_owned(), body: body.to_string().into_bytes(), content_type }
    }

    /// Connects from `netns`, sends, reads the whole answer.
    ///
    /// # Errors
    /// When nothing answers in time, or not in HTTP.
    pub fn send_in(&self, netns: &Netns, to: SocketAddr, timeout: Duration) -> Result<Response> {
        let begin = Instant::now();
        let (status, headers, mut body) = self.open(netns, to, timeout)?;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).context("reading the body")?;
        Ok(Response { status, headers, body: bytes, took: begin.elapsed() })
    }

    /// As [`Request::send_in`], but leaves the body to be read as it comes: for
    /// watches. `timeout` also bounds each single read.
    ///
    /// # Errors
    /// When nothing answers in time, or not in HTTP.
    pub fn open(&self, netns: &Netns, to: SocketAddr, timeout: Duration) -> Result<(u16, Headers, Body)> {
        let stream = netns.run(|| TcpStream::connect_timeout(&to, timeout))?;
        let mut stream = stream.with_context(|| format!("connect {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {to}\r\nAccept: application/json, */*\r\nConnection: close\r\n",
            self.method, self.path
        );
        if !self.body.is_empty() {
            head +=
                &format!("Content-Type: {}\r\nContent-Length: {}\r\n", self.content_type, self.body.len());
        }
        head += "\r\n";
        let mut message = head.into_bytes();
        message.extend_from_slice(&self.body);
        stream.write_all(&message).context("sending the request")?;
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader)?;
        let find = |name: &str| headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let framing = match (find("transfer-encoding"), find("content-length")) {
            (Some("chunked"), _) => Framing::Chunks(0),
            (_, Some(length)) => Framing::Length(length.parse().context("content-length")?),
            _ => Framing::Length(MAX_BODY),
        };
        Ok((status, headers, Body { reader, framing }))
    }
}

/// Header names in lower case, with their values.
pub type Headers = Vec<(String, String)>;

fn read_head(reader: &mut impl BufRead) -> Result<(u16, Headers)> {
    let mut line = String::new();
    reader.read_line(&mut line).context("reading the status")?;
    let mut words = line.split_whitespace();
    ensure!(words.next().is_some_and(|w| w.starts_with("HTTP/1.")), "not HTTP: {line:?}");
    let status = words.next().and_then(|w| w.parse().ok()).with_context(|| format!("status: {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).context("reading the headers")? == 0 {
            bail!("the answer ended within its headers");
        }
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok((status, headers))
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// Bytes that remain; also those without a stated length, to their end.
    Length(u64),
    /// Bytes that remain of the chunk (RFC 9112 §7.1).
    Chunks(u64),
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Framing::Chunks(0) = self.framing {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(std::io::Error::other)?;
            // The last chunk is followed by trailers that nobody here needs.
            self.framing = if size == 0 { Framing::Length(0) } else { Framing::Chunks(size) };
        }
        let (Framing::Length(left) | Framing::Chunks(left)) = &mut self.framing;
        let want = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.reader.read(&mut buffer[..want])?;
        *left -= got as u64;
        if matches!(self.framing, Framing::Chunks(0)) {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end)?;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Serves one canned answer on the loopback and returns what a client makes of it.
    fn answer(bytes: &'static [u8]) -> Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let to = listener.local_addr()?;
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 512];
            let _n = stream.read(&mut request)?;
            stream.write_all(bytes)
        });
        let stream = TcpStream::connect(to)?;
        (&stream).write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader)?;
        let chunked = headers.iter().any(|(k, v)| k == "transfer-encoding" && v == "chunked");
        let framing = if chunked { Framing::Chunks(0) } else { Framing::Length(MAX_BODY) };
        let mut text = String::new();
        Body { reader, framing }.read_to_string(&mut text)?;
        server.join().expect("server")?;
        Ok((status, text))
    }

    #[test]
    fn chunks_are_put_together() {
        let raw =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(answer(raw).expect("reads"), (200, "abcde".to_owned()));
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        assert_eq!(answer(b"HTTP/1.0 404 Not Found\r\n\r\ngone").expect("reads"), (404, "gone".to_owned()));
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(answer(b"220 mail ready\r\n").is_err());
    }
}
