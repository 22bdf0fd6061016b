use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;

use super::signing_certificate::{Contents, Unusable, rsa_key};
use crate::token::Secret;

impl Contents {
    pub(super) fn of_pkcs12(der: &[u8], password: Option<&Secret>) -> Result<Self, Unusable> {
        let archive = Pkcs12Archive::from_pkcs12(der, password.map_or("", Secret::expose))
            .map_err(|error| unusable(error, password.is_some()))?;
        Ok(Self {
            keys: archive
                .keys
                .iter()
                .map(|bag| rsa_key(bag.key.as_der()))
                .collect::<Result<_, _>>()?,
            certificates: archive
                .certs
                .iter()
                .map(|bag| bag.cert.as_der().to_vec())
                .collect(),
        })
    }
}

/// With a wrong password the MAC does not match. A file without a MAC decrypts to invalid data.
fn unusable(error: Error, has_password: bool) -> Unusable {
    match error {
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError if has_password => {
            Unusable::WrongPassword
        }
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => Unusable::NoPassword,
        error => Unusable::BrokenPkcs12(Box::new(error)),
    }
}
