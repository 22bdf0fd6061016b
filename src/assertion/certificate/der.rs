//! Reads the DER fields that match a certificate with its key and its issuer.
//!
//! It is written by hand because the crates that parse certificates either add 6 to 14 crates
//! (`x509-cert`, `x509-parser`), or reject X.509 version 1 (`rustls-webpki`), which OpenSSL 3.0
//! creates with `x509 -req`. It reads four fields at fixed positions and verifies nothing: Entra
//! does.

/// The fields of an X.509 certificate that order a chain.
pub(super) struct Certificate<'a> {
    /// The whole certificate.
    pub(super) der: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// As returned by [`public_key`].
    pub(super) public_key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Source: RFC 5280, section 4.1.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut rest = der;
        let mut certificate = take(&mut rest, SEQUENCE)?;
        let der = der.strip_suffix(rest)?;

        let mut to_be_signed = take(&mut certificate, SEQUENCE)?;
        let _version = take(&mut to_be_signed, EXPLICIT_0);
        let _serial_number = take(&mut to_be_signed, INTEGER)?;
        let _signature = take(&mut to_be_signed, SEQUENCE)?;
        let issuer = take(&mut to_be_signed, SEQUENCE)?;
        let _validity = take(&mut to_be_signed, SEQUENCE)?;
        let subject = take(&mut to_be_signed, SEQUENCE)?;
        let public_key = public_key(to_be_signed)?;
        Some(Self {
            der,
            issuer,
            subject,
            public_key,
        })
    }
}

/// Returns the key in a `SubjectPublicKeyInfo` (RFC 5280, section 4.1), without the algorithm,
/// which for one RSA key can be `rsaEncryption` or `RSASSA-PSS`, with and without parameters.
pub(super) fn public_key(mut der: &[u8]) -> Option<&[u8]> {
    let mut info = take(&mut der, SEQUENCE)?;
    let _algorithm = take(&mut info, SEQUENCE)?;
    take(&mut info, BIT_STRING)
}

/// Returns the object identifier of the algorithm, and the key, in PKCS#8 (RFC 5958, section 2).
pub(super) fn private_key(mut der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut info = take(&mut der, SEQUENCE)?;
    let _version = take(&mut info, INTEGER)?;
    let mut algorithm = take(&mut info, SEQUENCE)?;
    Some((
        take(&mut algorithm, OBJECT_IDENTIFIER)?,
        take(&mut info, OCTET_STRING)?,
    ))
}

/// Takes the next element if it has this tag, and returns its content.
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        // The byte is the number of bytes of the length.
        let (bytes, rest) = rest.split_at_checked(usize::from(*length & 0x7f))?;
        let append = |length: usize, byte: &u8| length.checked_mul(256)?.checked_add(usize::from(*byte));
        (bytes.iter().try_fold(0, append)?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some(content)
}

/// `rsaEncryption`, 1.2.840.113549.1.1.1. Source: RFC 8017, appendix A.1.
pub(super) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

// Source: X.690, section 8.1.2, and X.680, section 8.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_taken_whole_or_not_at_all() {
        let long = [&[SEQUENCE, 0x81, 0x80][..], &[7; 0x80], &[9]].concat();
        let longer = [&[SEQUENCE, 0x82, 0x01, 0x02][..], &[7; 0x102], &[9]].concat();
        let huge = [SEQUENCE, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        for (der, content, rest) in [
            (&[SEQUENCE, 0, 9][..], Some(&[][..]), &[9][..]),
            (&[SEQUENCE, 2, 7, 8], Some(&[7, 8]), &[]),
            (&long, Some(&[7; 0x80]), &[9]),
            (&longer, Some(&[7; 0x102]), &[9]),
            (&[], None, &[]),
            (&[SEQUENCE], None, &[SEQUENCE]),
            (&[INTEGER, 0], None, &[INTEGER, 0]),
            (&[SEQUENCE, 2, 7], None, &[SEQUENCE, 2, 7]),
            (&[SEQUENCE, 0x82, 1], None, &[SEQUENCE, 0x82, 1]),
            (&huge, None, &huge),
        ] {
            let mut left = der;
            assert_eq!((take(&mut left, SEQUENCE), left), (content, rest), "{der:?}");
        }
    }

    #[test]
    fn bytes_after_a_certificate_do_not_belong_to_it() {
        let element = |tag, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let name = |name: u8| element(SEQUENCE, &[name]);
        let key = element(SEQUENCE, &[name(1), element(BIT_STRING, &[2])].concat());
        let fields = [element(INTEGER, &[3]), name(4), name(5), name(6), name(7), key].concat();
        for version in [vec![], element(EXPLICIT_0, &element(INTEGER, &[2]))] {
            let der = element(SEQUENCE, &element(SEQUENCE, &[version, fields.clone()].concat()));
            let longer = [&der[..], b"more"].concat();
            let certificate = Certificate::parse(&longer).unwrap();
            assert_eq!(certificate.der, der);
            assert_eq!(
                (certificate.issuer, certificate.subject, certificate.public_key),
                (&[5][..], &[7][..], &[2][..])
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(der in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Certificate::parse(&der);
            let _ = public_key(&der);
            let _ = private_key(&der);
        }
    }
}
