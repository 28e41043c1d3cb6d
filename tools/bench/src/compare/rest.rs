//! As much of an HTTP client as Tidegate's REST API asks for: one keep-alive connection, JSON both ways.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

/// The API answers within this or is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer of the API that is asked for here is longer.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One connection to the API.
pub struct Rest {
    stream: BufReader<TcpStream>,
    host: String,
    token: String,
}

impl Rest {
    pub fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Rest> {
        let stream = TcpStream::connect(address).context("the admin listener")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Rest { stream: BufReader::new(stream), host: address.to_string(), token: token.to_owned() })
    }

    /// The answer's JSON, if its status is a 2xx.
    pub fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.call("POST", path, body)?;
        ensure!((200..300).contains(&status), "POST {path}: {status} {answer}");
        Ok(answer)
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{method} {path} was answered with {line:?}"))?;
        let mut length = None;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "{method} {path}: the answer's head does not end");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let length = length.with_context(|| format!("{method} {path}: an answer without a length"))?;
        ensure!(length <= BODY_BYTES_MAX, "{method} {path}: an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// A text member of an answer.
pub fn text<'v>(value: &'v Value, member: &str) -> anyhow::Result<&'v str> {
    value[member].as_str().with_context(|| format!("the API's answer has no {member}: {value}"))
}
