use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::picture::{Object, Picture, Pod};
use super::value::Value;

/// The network policies that restrict egress, found by the pods that they select.
///
/// There can be thousands of both, so neither is compared one by one.
pub(super) struct Policies<'a> {
    groups: Vec<Group<'a>>,
    /// The groups of a namespace by one label that a pod must have.
    of_label: HashMap<(Scope<'a>, Option<Label<'a>>), Vec<usize>>,
}

/// What the network policies of a pod let it reach; their rules add up.
#[derive(Clone, Copy)]
pub(super) struct Egress<'a> {
    /// The first of the policies.
    pub(super) first: Object<'a>,
    /// The index of `first`.
    index: usize,
    /// Whether port 443 of a host outside the cluster is allowed.
    pub(super) allows_https: bool,
    pub(super) allows_dns: bool,
}

/// Policies with the same namespace and the same labels.
struct Group<'a> {
    labels: Vec<Label<'a>>,
    egress: Egress<'a>,
}

type Label<'a> = (&'a str, Option<&'a str>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Scope<'a> {
    Any,
    In(Option<&'a str>),
}

impl<'a> Policies<'a> {
    /// Returns no policy if the files do not tell what a pod can reach.
    pub(super) fn of(picture: &Picture<'a>) -> Self {
        let mut policies = Self {
            groups: Vec::new(),
            of_label: HashMap::new(),
        };
        // Policies of other kinds allow, too.
        let is_other = |object: &Object<'_>| object.kind != POLICY && object.kind.ends_with(POLICY);
        let mut all = picture.policies.iter();
        if all.any(|object| is_other(object) || object.kind == POLICY && has_expressions(object)) {
            return policies;
        }
        let mut known = HashMap::new();
        for (index, policy) in picture.policies.iter().enumerate() {
            let Some(labels) = labels_of(policy).filter(|_| restricts_egress(policy)) else {
                continue;
            };
            let egress = Egress::of(*policy, index);
            let namespace = policy.namespace();
            let number = *known.entry((namespace, labels.clone())).or_insert_with(|| {
                policies.groups.push(Group { labels, egress });
                policies.groups.len() - 1
            });
            if let Some(group) = policies.groups.get_mut(number) {
                group.egress = group.egress.with(egress);
            }
        }
        let mut counts: HashMap<Label<'a>, usize> = HashMap::new();
        for label in policies.groups.iter().flat_map(|group| &group.labels) {
            *counts.entry(*label).or_default() += 1;
        }
        for ((namespace, labels), number) in known {
            // Few groups are then compared with a pod.
            let rarest = labels.iter().min_by_key(|label| counts.get(*label)).copied();
            for scope in [Scope::Any, Scope::In(namespace)] {
                let groups = policies.of_label.entry((scope, rarest)).or_default();
                groups.push(number);
            }
        }
        policies
    }

    /// Returns `None` if no policy restricts a pod, or if there are too many to compare.
    pub(super) fn egress_of(&self, picture: &Picture<'a>, pod: &Pod<'a>) -> Option<Egress<'a>> {
        // A proxy reaches the login host in place of the pod.
        if has_proxy(pod) {
            return None;
        }
        let namespace = pod.object.namespace();
        let scopes: &[Scope<'_>] = match namespace {
            None => &[Scope::Any],
            Some(_) => &[Scope::In(namespace), Scope::In(None)],
        };
        let labels = pod.template.at(&["metadata", "labels"]).map(Value::entries);
        let mut own = HashMap::new();
        for (key, value) in labels.unwrap_or_default() {
            if let Some(key) = key.text() {
                own.entry(key).or_insert_with(|| value.scalar());
            }
        }
        let of_labels = own.iter().map(|(key, value)| Some((*key, *value)));
        let groups = of_labels
            .chain([None])
            .flat_map(|label| scopes.iter().map(move |scope| (*scope, label)))
            .filter_map(|key| self.of_label.get(&key))
            .flatten()
            .filter_map(|number| self.groups.get(*number));
        let mut egress: Option<Egress<'a>> = None;
        for group in groups {
            if !picture.may_compare(pod.object.source, group.labels.len() + 1) {
                return None;
            }
            let mut labels = group.labels.iter();
            if labels.all(|(key, value)| own.get(key) == Some(value)) {
                egress = Some(egress.map_or(group.egress, |egress| egress.with(group.egress)));
            }
        }
        egress
    }
}

impl<'a> Egress<'a> {
    fn of(policy: Object<'a>, index: usize) -> Self {
        let rules = policy.value.at(&["spec", "egress"]).map(Value::items);
        let allows = |port: u16, is_outside: bool| {
            let mut rules = rules.unwrap_or_default().iter();
            rules.any(|rule| {
                let to = rule.get("to").map(Value::items).unwrap_or_default();
                let reaches = !is_outside || to.is_empty() || to.iter().any(is_outside_range);
                let ports = rule.get("ports").map(Value::items).unwrap_or_default();
                reaches && (ports.is_empty() || ports.iter().any(|it| includes(it, port)))
            })
        };
        Self {
            first: policy,
            index,
            allows_https: allows(443, true),
            allows_dns: allows(53, false),
        }
    }

    /// With the rules of another policy.
    fn with(self, other: Self) -> Self {
        let first = if other.index < self.index { other } else { self };
        Self {
            allows_https: self.allows_https || other.allows_https,
            allows_dns: self.allows_dns || other.allows_dns,
            ..first
        }
    }
}

pub(super) fn has_proxy(pod: &Pod<'_>) -> bool {
    PROXIES.iter().any(|name| pod.variables(name).next().is_some())
}

fn restricts_egress(policy: &Object<'_>) -> bool {
    let spec = policy.value.get("spec").unwrap_or(policy.value);
    match spec.get("policyTypes") {
        Some(types) => types.items().iter().any(|kind| kind.text() == Some("Egress")),
        None => spec.get("egress").is_some(),
    }
}

/// The labels that a policy selects pods by, in a fixed order. `None` if one of them cannot be a label of a pod.
fn labels_of<'a>(policy: &Object<'a>) -> Option<Vec<Label<'a>>> {
    let labels = policy.value.at(&["spec", "podSelector", "matchLabels"]);
    let labels = labels.map(Value::entries).unwrap_or_default().iter();
    let labels: Option<Vec<_>> = labels
        .map(|(key, value)| Some((key.text()?, value.scalar())))
        .collect();
    let mut labels = labels?;
    labels.sort_unstable();
    Some(labels)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::lint::picture::same;
    use crate::lint::source;

    /// Compares each policy with each pod.
    fn simple<'a>(picture: &Picture<'a>, pod: &Pod<'a>) -> Option<Egress<'a>> {
        let applies = |policy: &Object<'_>| {
            let labels = policy.value.at(&["spec", "podSelector", "matchLabels"]);
            let mut labels = labels.map(Value::entries).unwrap_or_default().iter();
            restricts_egress(policy)
                && same(policy.namespace(), pod.object.namespace())
                && labels.all(|(key, value)| {
                    let label = key.text().and_then(|key| pod.label(key));
                    label.is_some_and(|(_, label)| label.scalar() == value.scalar())
                })
        };
        let policies = picture.policies.iter().enumerate();
        policies
            .filter(|(_, policy)| applies(policy))
            .map(|(index, policy)| Egress::of(*policy, index))
            .reduce(|all, next| Egress {
                allows_https: all.allows_https || next.allows_https,
                allows_dns: all.allows_dns || next.allows_dns,
                ..all
            })
    }

    #[test]
    fn policies_that_are_found_by_labels_are_those_of_a_comparison_one_by_one() {
        let mut seed = 1_u64;
        let mut random = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % most
        };
        let mut text = String::new();
        for index in 0..600 {
            let namespace = ["", ", namespace: a", ", namespace: b"].map(str::to_owned);
            let namespace = namespace.get(usize::try_from(random(3)).unwrap()).unwrap();
            // A policy for all pods leaves none without a policy in its namespace.
            let least = u64::from(index % 2 == 0 && !namespace.ends_with('b'));
            let mut labels: Vec<_> = (0..least + random(3)).map(|_| (random(4), random(20))).collect();
            labels.sort_unstable();
            labels.dedup_by_key(|(key, _)| *key);
            let labels = labels.iter().map(|(key, value)| format!("l{key}: v{value}"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let _ = if index % 2 == 0 {
                let port = [
                    "[]",
                    "[{}]",
                    "[{ports: [{port: 443}]}]",
                    "[{ports: [{port: 53}]}]",
                ];
                let rules = port.get(usize::try_from(random(4)).unwrap()).unwrap();
                let kind = if random(5) == 0 { "Ingress" } else { "Egress" };
                let spec = format!(
                    "{{policyTypes: [{kind}], egress: {rules}, podSelector: {{matchLabels: {{{labels}}}}}}}"
                );
                writeln!(
                    text,
                    "---\napiVersion: v1\nkind: NetworkPolicy\nmetadata: {{name: p{index}{namespace}}}\nspec: {spec}"
                )
            } else {
                let metadata = format!("{{name: p{index}{namespace}, labels: {{{labels}}}}}");
                writeln!(
                    text,
                    "---\napiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a}}]}}"
                )
            };
        }
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (sources, _) = source::read(&[file.path().to_owned()]).unwrap();
        let picture = Picture::of(&sources);
        let policies = Policies::of(&picture);
        let shown = |egress: Option<Egress<'_>>| {
            egress.map(|it| {
                (
                    it.index,
                    it.first.value.span.clone(),
                    it.allows_https,
                    it.allows_dns,
                )
            })
        };
        assert_eq!((picture.pods.len(), picture.policies.len()), (300, 300));
        let found: Vec<_> = picture
            .pods
            .iter()
            .map(|pod| shown(policies.egress_of(&picture, pod)))
            .collect();
        let expected: Vec<_> = picture
            .pods
            .iter()
            .map(|pod| shown(simple(&picture, pod)))
            .collect();
        assert_eq!(found, expected);
        for some in [None, Some((true, true)), Some((false, true)), Some((true, false))] {
            let allowed = |it: &Option<(usize, _, bool, bool)>| it.as_ref().map(|it| (it.2, it.3));
            assert!(expected.iter().any(|it| allowed(it) == some), "{some:?}");
        }
        // Past the bound, no policy is known, and this is noted.
        assert!(picture.notes().next().is_none());
        assert!(!picture.may_compare(0, usize::MAX));
        let mut pods = picture.pods.iter();
        assert!(pods.all(|pod| policies.egress_of(&picture, pod).is_none()));
        assert_eq!(picture.notes().count(), 1);
    }
}
