use std::collections::{HashMap, HashSet};

use super::picture::{Account, CLIENT_ID, Picture, is_guid};
use super::value::Value;

/// The roles that allow to use the identity of an account.
#[derive(Default)]
pub(super) struct Roles<'a> {
    first: Option<Role<'a>>,
    /// Those that are not for a known client ID.
    of_any_client: Option<Role<'a>>,
    /// By client ID, in lower case.
    of_client: HashMap<String, Role<'a>>,
}

/// The index and the name.
pub(super) type Role<'a> = (usize, Option<&'a str>);

impl<'a> Roles<'a> {
    pub(super) fn of(picture: &Picture<'a>) -> Self {
        let mut roles = Self::default();
        let objects = picture
            .objects
            .iter()
            .filter(|object| object.kind == "ClusterRole");
        for (index, object) in objects.enumerate() {
            let role = (index, object.place().text());
            let granted = object.value.get("rules").map(Value::items).unwrap_or_default();
            for rule in granted {
                let list = |name: &str| rule.get(name).map(Value::items).unwrap_or_default().iter();
                if !list("verbs").any(|verb| matches!(verb.text(), Some("use-managed-identity" | "*"))) {
                    continue;
                }
                for resource in list("resources").filter_map(Value::text) {
                    roles.first.get_or_insert(role);
                    if is_guid(resource) {
                        let client = resource.to_ascii_lowercase();
                        roles.of_client.entry(client).or_insert(role);
                    } else {
                        roles.of_any_client.get_or_insert(role);
                    }
                }
            }
        }
        roles
    }

    /// Returns the first role.
    pub(super) fn granting(&self, account: Option<&Account<'_>>) -> Option<Role<'a>> {
        let client = account.and_then(|account| account.annotation(CLIENT_ID)?.1.text());
        match client.filter(|client| is_guid(client)) {
            None => self.first,
            Some(client) => {
                let own = self.of_client.get(&client.to_ascii_lowercase()).copied();
                own.into_iter().chain(self.of_any_client).min()
            }
        }
    }
}

/// The subjects that are bound to each role.
#[derive(Default)]
pub(super) struct Bindings<'a>(HashMap<Option<&'a str>, Subjects<'a>>);

#[derive(Default)]
struct Subjects<'a> {
    has_group: bool,
    /// The names, each with its namespaces.
    names: HashMap<Option<&'a str>, HashSet<Option<&'a str>>>,
}

impl<'a> Bindings<'a> {
    pub(super) fn of(picture: &Picture<'a>) -> Self {
        let mut bindings = Self::default();
        let objects = picture.objects.iter();
        for binding in objects.filter(|object| object.kind == "ClusterRoleBinding") {
            let role = binding.value.at(&["roleRef", "name"]).and_then(Value::text);
            let subjects = bindings.0.entry(role).or_default();
            for subject in binding
                .value
                .get("subjects")
                .map(Value::items)
                .unwrap_or_default()
            {
                let text = |name: &str| subject.get(name).and_then(Value::text);
                subjects.has_group |= text("kind") == Some("Group");
                let namespaces = subjects.names.entry(text("name")).or_default();
                namespaces.insert(text("namespace"));
            }
        }
        bindings
    }

    pub(super) fn bind(&self, role: Option<&str>, account: Option<&Account<'_>>) -> bool {
        self.0.get(&role).is_some_and(|subjects| {
            let is_account = |account: &Account<'_>| {
                let namespace = account.namespace();
                subjects.names.get(&account.name()).is_some_and(|namespaces| {
                    namespace.is_none() || namespaces.contains(&None) || namespaces.contains(&namespace)
                })
            };
            subjects.has_group || account.map_or(!subjects.names.is_empty(), is_account)
        })
    }
}
