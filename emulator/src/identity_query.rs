use std::collections::HashMap;

use bytes::Bytes;
use http::Request;

use super::managed_identity::IdField;

/// The parameters of a query; empty ones count as missing.
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

    /// Which of `names` are given, and what they say.
    pub(super) fn ids(&self, names: &[(&str, IdField)]) -> Vec<(IdField, &str)> {
        names
            .iter()
            .filter_map(|(parameter, name)| Some((*name, self.get(parameter)?)))
            .collect()
    }
}
