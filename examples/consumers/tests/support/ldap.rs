//! An LDAP server that answers simple binds only: the way in which PostgreSQL asks another program
//! whether a password is right, up to 64 KiB long.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Says whether a user has this password.
pub type Check = dyn Fn(&str, &str) -> Result<(), String> + Send + Sync;

/// A listening server. It stops with the runtime.
pub struct LdapServer {
    pub port: u16,
    /// The outcome of each bind.
    pub outcomes: Arc<Mutex<Vec<Result<(), String>>>>,
}

impl LdapServer {
    pub async fn start(check: Arc<Check>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let outcomes = Arc::<Mutex<Vec<_>>>::default();
        let recorded = Arc::clone(&outcomes);
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn(serve(stream, Arc::clone(&check), Arc::clone(&recorded)));
            }
        });
        Self { port, outcomes }
    }
}

async fn serve(mut stream: TcpStream, check: Arc<Check>, outcomes: Arc<Mutex<Vec<Result<(), String>>>>) {
    while let Some(message) = read_message(&mut stream).await {
        let Some((id, user, password)) = simple_bind(&message) else {
            return; // an unbind
        };
        let outcome = check(user.trim_start_matches("cn="), &password);
        let code = if outcome.is_ok() { 0 } else { INVALID_CREDENTIALS };
        outcomes.lock().unwrap().push(outcome);
        let mut response = vec![2, u8::try_from(id.len()).unwrap()];
        response.extend_from_slice(&id);
        response.extend_from_slice(&[0x61, 7, 10, 1, code, 4, 0, 4, 0]);
        let mut message = vec![0x30, u8::try_from(response.len()).unwrap()];
        message.extend(response);
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// Reads one message: the content of a sequence.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let mut length = usize::from(head[1]);
    if length > 0x80 {
        let mut bytes = vec![0; length - 0x80];
        stream.read_exact(&mut bytes).await.ok()?;
        length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.ok()?;
    (head[0] == 0x30).then_some(message)
}

/// Returns the message ID, the name and the password of a bind request.
fn simple_bind(message: &[u8]) -> Option<(Vec<u8>, String, String)> {
    let (id, rest) = element(message, 0x02)?;
    let (bind, _) = element(rest, 0x60)?;
    let (_version, rest) = element(bind, 0x02)?;
    let (name, rest) = element(rest, 0x04)?;
    let (password, _) = element(rest, 0x80)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some((id.to_vec(), text(name)?, text(password)?))
}

/// Returns the content of the first element, which has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = bytes else {
        return None;
    };
    let (mut length, mut rest) = (usize::from(*length), rest);
    if length > 0x80 {
        let (long, after) = rest.split_at_checked(length - 0x80)?;
        length = long
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    (*found == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// Source: RFC 4511, section 4.1.9.
const INVALID_CREDENTIALS: u8 = 49;
