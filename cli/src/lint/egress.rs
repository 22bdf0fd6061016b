use std::net::Ipv4Addr;

use super::picture::{Object, Picture, Pod, same};
use super::value::Value;

/// What the network policies of a pod let it reach; their rules add up.
pub(super) struct Egress<'a> {
    /// The first of the policies.
    pub(super) first: Object<'a>,
    rules: Vec<&'a Value>,
}

impl<'a> Egress<'a> {
    /// Returns `None` if no policy restricts the pod, or if the files do not tell.
    pub(super) fn of(picture: &Picture<'a>, pod: &Pod<'a>) -> Option<Self> {
        let mut policies = picture.policies.iter();
        // Policies of other kinds allow, too, and a proxy reaches the login host in place of the pod.
        let is_other = |object: &Object<'_>| object.kind != POLICY && object.kind.ends_with(POLICY);
        if policies.any(|object| is_other(object) || object.kind == POLICY && has_expressions(object))
            || has_proxy(pod)
        {
            return None;
        }
        let policies = picture.policies.iter();
        let policies: Vec<_> = policies.filter(|object| applies(object, pod)).collect();
        let rules = policies
            .iter()
            .filter_map(|policy| policy.value.at(&["spec", "egress"]));
        Some(Self {
            first: **policies.first()?,
            rules: rules.flat_map(Value::items).collect(),
        })
    }

    /// * `is_outside`: whether the port is one of a host outside the cluster.
    pub(super) fn allows(&self, port: u16, is_outside: bool) -> bool {
        self.rules.iter().any(|rule| {
            let to = rule.get("to").map(Value::items).unwrap_or_default();
            let reaches = !is_outside || to.is_empty() || to.iter().any(is_outside_range);
            let ports = rule.get("ports").map(Value::items).unwrap_or_default();
            reaches && (ports.is_empty() || ports.iter().any(|it| includes(it, port)))
        })
    }
}

pub(super) fn has_proxy(pod: &Pod<'_>) -> bool {
    PROXIES.iter().any(|name| pod.variables(name).next().is_some())
}

/// Whether a policy restricts the egress of a pod.
fn applies(policy: &Object<'_>, pod: &Pod<'_>) -> bool {
    let spec = policy.value.get("spec").unwrap_or(policy.value);
    let is_egress = match spec.get("policyTypes") {
        Some(types) => types.items().iter().any(|kind| kind.text() == Some("Egress")),
        None => spec.get("egress").is_some(),
    };
    let labels = spec.at(&["podSelector", "matchLabels"]).map(Value::entries);
    is_egress
        && same(policy.namespace(), pod.object.namespace())
        && labels.unwrap_or_default().iter().all(|(key, value)| {
            let label = key.text().and_then(|key| pod.label(key));
            label.is_some_and(|(_, label)| label.scalar() == value.scalar())
        })
}

/// Whether a policy selects pods by more than equal labels.
fn has_expressions(policy: &Object<'_>) -> bool {
    let path = ["spec", "podSelector", "matchExpressions"];
    policy.value.at(&path).is_some()
}

/// Whether the login host can be in a range of addresses.
fn is_outside_range(to: &Value) -> bool {
    let range = to.at(&["ipBlock", "cidr"]).and_then(Value::text);
    range.is_some_and(|range| {
        let address = range.split('/').next().unwrap_or_default().parse::<Ipv4Addr>();
        !address.is_ok_and(|address| address.is_private())
    })
}

fn includes(port: &Value, wanted: u16) -> bool {
    let number = |name: &str| port.get(name)?.scalar()?.parse::<u16>().ok();
    match (port.get("port").and_then(Value::scalar), number("port")) {
        (None, _) => true,
        (Some(name), None) => (name, wanted) == ("https", 443) || (name, wanted) == ("dns", 53),
        (_, Some(first)) => (first..=number("endPort").unwrap_or(first)).contains(&wanted),
    }
}

const POLICY: &str = "NetworkPolicy";
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
