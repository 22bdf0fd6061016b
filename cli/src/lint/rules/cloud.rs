use entra_workload::diagnose::{Owner, Severity};

use crate::lint::picture::Picture;
use crate::lint::rule::{Problem, Rule, Symptom};
use crate::lint::value::Value;

pub(super) const RULE: Rule = Rule {
    code: "EW712",
    summary: "audience of another cloud",
    symptom: Symptom::Aadsts(700_212),
    owner: Owner::Developer,
    severity: Severity::Error,
    cause: "Each cloud has its own audience for the token exchange, and its webhook asks for tokens with that one.",
    fix: "Use `api://AzureADTokenExchange`, with `USGov` or `China` at the end in these clouds.",
    check,
};

fn check(picture: &Picture<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut compare = |source: usize, audience: &Value, cloud: Option<&(&str, &str, &str)>| {
        let (Some((name, _, wanted)), Some(text)) = (cloud, audience.text()) else {
            return;
        };
        if text != *wanted && CLOUDS.iter().any(|(.., known)| *known == text) {
            problems.push(Problem::new(
                source,
                audience,
                format!("the cloud is {name}: {wanted}"),
            ));
        }
    };
    for (source, credential) in picture.of_kind("azurerm_federated_identity_credential") {
        let mut environments = picture
            .of_kind("azurerm")
            .filter(|(provider, _)| picture.module(*provider) == picture.module(source))
            .filter_map(|(_, provider)| provider.body.get("environment")?.text());
        // With several providers nobody knows which one a resource uses.
        let environment = environments.next().filter(|_| environments.next().is_none());
        let cloud = CLOUDS.iter().find(|(name, ..)| environment == Some(*name));
        let audiences = credential.body.get("audience").map(Value::items);
        for audience in audiences.unwrap_or_default() {
            compare(source, audience, cloud);
        }
    }
    for pod in &picture.pods {
        let mut hosts = pod.variables("AZURE_AUTHORITY_HOST");
        let host = hosts.find_map(|variable| variable.get("value")?.text());
        let cloud = CLOUDS
            .iter()
            .find(|(_, login, _)| host.is_some_and(|host| host.contains(login)));
        for (_, token) in pod.token_sources() {
            if let Some(audience) = token.get("audience") {
                compare(pod.object.source, audience, cloud);
            }
        }
    }
    problems
}

/// The name that the provider uses, the login host, and the audience.
///
/// Source: Microsoft, "Workload identity federation", audiences of the clouds.
const CLOUDS: [(&str, &str, &str); 3] = [
    (
        "public",
        "login.microsoftonline.com",
        "api://AzureADTokenExchange",
    ),
    (
        "usgovernment",
        "login.microsoftonline.us",
        "api://AzureADTokenExchangeUSGov",
    ),
    (
        "china",
        "login.chinacloudapi.cn",
        "api://AzureADTokenExchangeChina",
    ),
];
