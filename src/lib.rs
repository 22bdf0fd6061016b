//! Azure tokens for pods without secrets.

mod clock;

pub use clock::{Clock, Moment, SystemClock};
