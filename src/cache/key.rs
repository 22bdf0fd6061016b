use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::Equivalent;
use smallvec::SmallVec;

use crate::authority::TenantId;
use crate::code::Code;
use crate::error::Error;
use crate::token::TokenRequest;

/// The key of a cached token: the tenant, the sorted and distinct scopes, and the claims of its
/// request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// As spelled in the first request; lookups ignore its case.
    tenant_id: Option<Box<str>>,
    scopes: Box<[Box<str>]>,
    claims: Option<Box<str>>,
}

impl Key {
    /// Returns the key of a request.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if a scope or the tenant is invalid.
    pub(crate) fn of(request: &TokenRequest<'_>) -> Result<Self, Error> {
        KeyView::new(request, &mut Sorted::new()).to_key()
    }

    pub(super) fn scopes(&self) -> Vec<&str> {
        self.0.scopes.iter().map(AsRef::as_ref).collect()
    }

    pub(super) fn has_claims(&self) -> bool {
        self.0.claims.is_some()
    }

    /// Returns the request of this key.
    ///
    /// * `scopes`: those of [`scopes`](Self::scopes).
    pub(super) fn request<'a>(&'a self, scopes: &'a [&'a str]) -> TokenRequest<'a> {
        let mut request = TokenRequest::new(scopes);
        if let Some(tenant_id) = &self.0.tenant_id {
            request = request.tenant_id(tenant_id);
        }
        if let Some(claims) = &self.0.claims {
            request = request.claims(claims);
        }
        request
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Parts {
            tenant_id,
            scopes,
            claims,
        } = &*self.0;
        hash(tenant_id.as_deref(), scopes, claims.as_deref(), state);
    }
}

/// A key that borrows from a request, so that a lookup does not allocate.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyView<'a> {
    tenant_id: Option<&'a str>,
    scopes: &'a [&'a str],
    claims: Option<&'a str>,
}

/// Space to sort the scopes of a request.
pub(super) type Sorted<'a> = SmallVec<[&'a str; 4]>;

impl<'a> KeyView<'a> {
    /// * `sorted`: an empty buffer, which is used if there is more than one scope.
    #[inline]
    pub(super) fn new<'r: 'a>(request: &'a TokenRequest<'r>, sorted: &'a mut Sorted<'r>) -> Self {
        Self {
            tenant_id: request.requested_tenant_id(),
            scopes: match request.scopes() {
                scopes @ ([] | [_]) => scopes,
                scopes => sort(scopes, sorted),
            },
            claims: request.requested_claims(),
        }
    }

    /// Removes the tenant if it is the one that requests without a tenant are for.
    #[inline]
    pub(super) fn without_own_tenant(self, own_tenant_id: impl FnOnce() -> Option<&'a str>) -> Self {
        let tenant_id = self.tenant_id.filter(|tenant_id| {
            !own_tenant_id().is_some_and(|own_tenant_id| own_tenant_id.eq_ignore_ascii_case(tenant_id))
        });
        Self { tenant_id, ..self }
    }

    /// Validates the request and returns an owned key. A lookup does not validate: only valid keys
    /// are stored.
    pub(super) fn to_key(self) -> Result<Key, Error> {
        if self.scopes.is_empty() {
            return Err(Error::configuration(
                "no scope was given; ask for a resource followed by /.default, such as https://vault.azure.net/.default",
            )
            .with_code(Code::INVALID_SCOPE));
        }
        if let Some(scope) = self.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(Error::configuration(format!(
                "{scope:?} is not a scope; a scope is a resource followed by /.default, without spaces"
            ))
            .with_code(Code::INVALID_SCOPE));
        }
        self.tenant_id.map(TenantId::parse).transpose()?;
        Ok(Key(Arc::new(Parts {
            tenant_id: self.tenant_id.map(Into::into),
            scopes: self.scopes.iter().map(|scope| (*scope).into()).collect(),
            claims: self.claims.map(Into::into),
        })))
    }
}

/// A function of its own, so that the code for a single scope stays short.
fn sort<'a, 'r>(scopes: &[&'r str], sorted: &'a mut Sorted<'r>) -> &'a [&'r str] {
    sorted.extend_from_slice(scopes);
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

impl Hash for KeyView<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.tenant_id, self.scopes, self.claims, state);
    }
}

impl Equivalent<Key> for KeyView<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Parts {
            tenant_id,
            scopes,
            claims,
        } = &*key.0;
        let has_tenant = match (self.tenant_id, tenant_id) {
            (Some(requested), Some(tenant_id)) => requested.eq_ignore_ascii_case(tenant_id),
            (requested, tenant_id) => requested.is_none() && tenant_id.is_none(),
        };
        has_tenant
            && self.claims == claims.as_deref()
            && self.scopes.iter().copied().eq(scopes.iter().map(AsRef::as_ref))
    }
}

/// Hashes a key or its view, which must have equal hashes. Absent parts add nothing, since most
/// requests have only one scope.
fn hash<H: Hasher>(tenant_id: Option<&str>, scopes: &[impl AsRef<str>], claims: Option<&str>, state: &mut H) {
    for text in scopes.iter().map(AsRef::as_ref).chain(claims) {
        state.write(text.as_bytes());
    }
    for byte in tenant_id.unwrap_or_default().bytes() {
        state.write_u8(byte.to_ascii_lowercase());
    }
}

/// Whether `text` is a scope token (RFC 6749, section 3.3): visible ASCII except `"` and `\`.
fn is_scope(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use hashbrown::DefaultHashBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn to_key(request: TokenRequest<'_>) -> Result<Key, Error> {
        KeyView::new(&request, &mut Sorted::new()).to_key()
    }

    #[test]
    fn keys_are_equal_if_only_order_and_repetition_of_scopes_differ() {
        let key = |scopes: &[&str]| to_key(TokenRequest::new(scopes)).unwrap();
        assert_eq!(key(&["a", "b"]), key(&["b", "a", "b"]));
        assert_ne!(key(&["a"]), key(&["a", "b"]));
    }

    #[test]
    fn keys_differ_if_tenant_or_claims_differ() {
        let request = TokenRequest::new(&["a"]);
        let key = |request| to_key(request).unwrap();
        assert_ne!(key(request), key(request.tenant_id("t")));
        assert_ne!(key(request), key(request.claims("t")));
        assert_ne!(key(request.tenant_id("t")), key(request.claims("t")));
    }

    #[test]
    fn view_is_equivalent_to_no_other_key() {
        let request = TokenRequest::new(&["a"]);
        let requests = [
            request,
            request.tenant_id("t"),
            request.claims("t"),
            request.tenant_id("t").claims("t"),
            TokenRequest::new(&["b"]).tenant_id("t").claims("t"),
            TokenRequest::new(&["a", "b"]).tenant_id("t").claims("t"),
        ];
        for view in &requests {
            for key in &requests {
                let found = KeyView::new(view, &mut Sorted::new()).equivalent(&to_key(*key).unwrap());
                assert_eq!(found, std::ptr::eq(view, key), "{view:?} {key:?}");
            }
        }
    }

    #[test]
    fn hashes_differ_if_scopes_differ() {
        let hasher = DefaultHashBuilder::default();
        let hash = |scope| hasher.hash_one(to_key(TokenRequest::new(&[scope])).unwrap());
        assert_ne!(hash("a"), hash("b"));
    }

    #[test]
    fn key_of_an_invalid_request_is_a_configuration_error() {
        for scopes in [
            &[][..],
            &[""],
            &["a", ""],
            &["a b"],
            &["a\n"],
            &["\u{7f}"],
            &["é"],
            &["a\"b"],
            &["a\\b"],
        ] {
            let error = to_key(TokenRequest::new(scopes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{scopes:?}");
        }
        let tenant = TokenRequest::new(&["a"]).tenant_id("../b");
        assert_eq!(to_key(tenant).unwrap_err().kind(), ErrorKind::Configuration);
    }

    proptest! {
        #[test]
        fn view_is_equivalent_to_its_own_key(
            scopes in proptest::collection::vec(r"[!#-\[\]-~]{1,8}", 1..7), tenant in proptest::option::of("[a-z]{1,4}"),
            claims in proptest::option::of("\\PC{0,4}"),
        ) {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            let mut request = TokenRequest::new(&scopes);
            request = tenant.as_deref().map_or(request, |tenant| request.tenant_id(tenant));
            request = claims.as_deref().map_or(request, |claims| request.claims(claims));
            let mut sorted = Sorted::new();
            let view = KeyView::new(&request, &mut sorted);
            let key = view.to_key().unwrap();
            prop_assert!(view.equivalent(&key));
            let hasher = DefaultHashBuilder::default();
            prop_assert_eq!(hasher.hash_one(view), hasher.hash_one(&key));
            let scopes = key.scopes();
            let mut sorted = Sorted::new();
            prop_assert!(KeyView::new(&key.request(&scopes), &mut sorted).equivalent(&key));
        }
    }
}
