//! Azure tokens for pods without secrets.

mod clock;
mod env;
mod error;
mod token;
mod transport;

pub use clock::{Clock, Moment, SystemClock};
pub use env::Environment;
pub use error::{Error, ErrorKind};
pub use token::{AccessToken, Secret, TokenRequest};
pub use transport::{HttpTransport, Transport};
