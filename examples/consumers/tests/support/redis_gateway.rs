//! Does in front of a real Redis what Azure does: it verifies the token of each `AUTH`, makes it the
//! password of the ACL user with the object ID of the caller, and closes the connection when the
//! last token of the connection expires. Everything else is up to Redis.

use std::time::SystemTime;

use entra_workload_emulator::TokenVerifier;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What happened to the connection with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Authenticated(u32),
    Refused(u32),
    Expired(u32),
}

/// A listening gateway. It stops with the runtime.
pub struct RedisGateway {
    pub port: u16,
    pub events: mpsc::UnboundedReceiver<Event>,
}

impl RedisGateway {
    /// * `redis`: the port of the real server.
    pub async fn start(redis: u16, verifier: TokenVerifier) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::task::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let connection = Connection {
                    number,
                    redis,
                    verifier: verifier.clone(),
                    events: sender.clone(),
                    expires_on: None,
                };
                tokio::task::spawn(connection.serve(stream));
            }
        });
        Self { port, events }
    }
}

struct Connection {
    number: u32,
    redis: u16,
    verifier: TokenVerifier,
    events: mpsc::UnboundedSender<Event>,
    expires_on: Option<SystemTime>,
}

impl Connection {
    async fn serve(mut self, client: TcpStream) {
        let server = TcpStream::connect(("127.0.0.1", self.redis)).await.unwrap();
        let (mut from_server, mut to_server) = server.into_split();
        let (from_client, mut to_client) = client.into_split();
        let replies =
            tokio::task::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        // Commands are read by a task of their own, because reading one is not cancel safe.
        let (sender, mut commands) = mpsc::unbounded_channel();
        let reader = tokio::task::spawn(async move {
            let mut from_client = BufReader::new(from_client);
            while let Some(command) = read_command(&mut from_client).await {
                let _ = sender.send(command);
            }
        });
        loop {
            let lifetime = self
                .expires_on
                .map(|at| at.duration_since(now()).unwrap_or_default());
            let expiry = async {
                match lifetime {
                    Some(lifetime) => tokio::time::sleep(lifetime).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { break };
                    self.check(&command).await;
                    if to_server.write_all(&encode(&command)).await.is_err() {
                        break;
                    }
                }
                () = expiry => {
                    let _ = self.events.send(Event::Expired(self.number));
                    break;
                }
            }
        }
        reader.abort();
        replies.abort();
    }

    /// Verifies the token of a command that authenticates. Redis refuses it unless it is the
    /// password of the user.
    async fn check(&mut self, command: &[Vec<u8>]) {
        let words: Vec<_> = command.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let at = match words.first() {
            Some(name) if name.eq_ignore_ascii_case("AUTH") => 0,
            Some(name) if name.eq_ignore_ascii_case("HELLO") => {
                match words.iter().position(|word| word.eq_ignore_ascii_case("AUTH")) {
                    Some(at) => at,
                    None => return,
                }
            }
            _ => return,
        };
        let (user, token) = (words[at + 1], words[at + 2]);
        let event = match self.verifier.verify(token, &["https://redis.azure.com"]) {
            Ok(caller) if caller.object_id() == user => {
                let password = format!(">{token}");
                let rule = [
                    "ACL", "SETUSER", user, "reset", "on", &password, "~*", "&*", "+@all",
                ];
                self.administer(&rule).await;
                self.expires_on = Some(caller.expires_on());
                Event::Authenticated(self.number)
            }
            _ => Event::Refused(self.number),
        };
        let _ = self.events.send(event);
    }

    /// Sends a command as the user `default`.
    async fn administer(&self, command: &[&str]) {
        let command: Vec<_> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis)).await.unwrap();
        stream.write_all(&encode(&command)).await.unwrap();
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"+OK\r\n");
    }
}

/// Reads an array of strings. `None` if the client has closed the connection.
async fn read_command(stream: &mut BufReader<OwnedReadHalf>) -> Option<Vec<Vec<u8>>> {
    let count = read_number(stream, b'*').await?;
    let mut command = Vec::new();
    for _ in 0..count {
        let length = read_number(stream, b'$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        command.push(word);
    }
    Some(command)
}

async fn read_number(stream: &mut BufReader<OwnedReadHalf>, kind: u8) -> Option<usize> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    let digits = line.strip_prefix(&[kind])?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut encoded = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        encoded.extend(format!("${}\r\n", word.len()).into_bytes());
        encoded.extend(word);
        encoded.extend(b"\r\n");
    }
    encoded
}

fn now() -> SystemTime {
    SystemTime::now()
}
