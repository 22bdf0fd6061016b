use std::collections::HashMap;

use bytes::Bytes;
use http::Request;

use super::managed_identity::IdField;

/// The query parameters of a managed identity token request. Empty values count as missing.
pub(super) struct IdentityQuery(HashMap<String, String>);

impl IdentityQuery {
    pub(super) fn parse(request: &Request<Bytes>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let mut parameters: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        parameters.retain(|_, value| !value.is_empty());
        Self(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the IDs in the query.
    ///
    /// * `parameters`: the query parameters that select an identity.
    pub(super) fn ids(&self, parameters: &[(&str, IdField)]) -> Vec<(IdField, &str)> {
        parameters
            .iter()
            .filter_map(|(parameter, field)| Some((*field, self.get(parameter)?)))
            .collect()
    }
}
