//! Errors of `azure_core` 1.x.

use azure_core::error::ErrorKind as SdkErrorKind;

use crate::error::{Error, ErrorKind, Wrapped};

/// The SDK repeats the text of an error that it is given without a message, so it gets both.
pub(crate) fn to_sdk(error: Error) -> azure_core::Error {
    let message = error.to_string();
    azure_core::Error::with_error(SdkErrorKind::Credential, Wrapped(error), message)
}

/// An SDK error of kind [`Credential`](SdkErrorKind::Credential), for `?` in functions that return
/// [`azure_core::Result`]. It has the message of `error`; [`Error::find_in`] returns `error`
/// itself.
impl From<Error> for azure_core::Error {
    fn from(error: Error) -> Self {
        to_sdk(error)
    }
}

/// Converts the error of any credential of the SDK. Such errors do not tell "not set up" from
/// "failed", so they are [`ErrorKind::Rejected`]; an [`Error`] of this crate among the causes keeps
/// its kind.
pub(crate) fn from_sdk(error: azure_core::Error) -> Error {
    Error::find_in(&error).cloned().unwrap_or_else(|| {
        Error::new(ErrorKind::Rejected, "the SDK's credential returned no token").with_source(error)
    })
}

/// Returns an error and its causes, outermost first.
#[cfg(feature = "default-credential")]
pub(crate) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn std::error::Error + 'static) = *error;
        error.source()
    })
}
