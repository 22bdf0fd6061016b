//! Adapters to other crates that send or check tokens, one file for each consumer.

#[cfg(feature = "object-store")]
mod object_store;
#[cfg(feature = "reqsign")]
mod reqsign;
mod token_stream;

#[cfg(feature = "object-store")]
pub use object_store::ObjectStoreCredential;
#[cfg(feature = "reqsign")]
pub use reqsign::ReqsignCredential;
pub use token_stream::TokenStream;

/// The scope of Azure Storage. The same in all clouds.
#[cfg(any(feature = "object-store", feature = "reqsign"))]
const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
