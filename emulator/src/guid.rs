use std::fmt;

/// A random GUID (version 4), in lower case as Entra writes it.
#[derive(Clone, Copy)]
pub(super) struct Guid(u128);

impl Guid {
    pub(super) fn random() -> Self {
        Self(fastrand::u128(..) & !VERSION_AND_VARIANT_MASK | VERSION_4_VARIANT_1)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bits) = self;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// Whether a text is a GUID, in any case.
pub(super) fn is_guid(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
}

// RFC 9562, 5.4.
const VERSION_AND_VARIANT_MASK: u128 = 0x0000_0000_0000_f000_c000_0000_0000_0000;
const VERSION_4_VARIANT_1: u128 = 0x0000_0000_0000_4000_8000_0000_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_guid_has_the_format_of_version_4() {
        let guid = Guid::random().to_string();
        let lengths: Vec<_> = guid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{guid}");
        assert_eq!(guid.chars().nth(14), Some('4'), "{guid}");
        assert!(
            guid.chars()
                .nth(19)
                .is_some_and(|variant| "89ab".contains(variant)),
            "{guid}"
        );
        assert_ne!(guid, Guid::random().to_string());
    }
}
