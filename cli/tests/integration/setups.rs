//! Broken set-ups, each from a real report: the doctor names the first cause, its remedy fixes it, and
//! Entra answers with the code that was predicted.

mod case;
mod remedy;
mod world;

use std::collections::BTreeSet;

use entra_workload_emulator::Endpoint;
use serde_json::Value;
use tokio::task::JoinSet;

use case::{Case, cases};
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_set_up_is_diagnosed_predicted_and_fixed() {
    let mut checks = JoinSet::new();
    let mut failures = Vec::new();
    for case in cases() {
        if checks.len() == AT_A_TIME {
            failures.extend(checks.join_next().await.unwrap().unwrap());
        }
        checks.spawn(check(case));
    }
    failures.extend(checks.join_all().await.into_iter().flatten());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Returns what the doctor, Entra and lint do otherwise than the case says.
async fn check(case: Case) -> Vec<String> {
    let Some(expected) = &case.doctor else {
        return Vec::new();
    };
    let mut failures = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            failures.push(format!("{}: {what}", case.name));
        }
    };
    let mut world = World::of(&case).await;
    let report = world.doctor(&expected.arguments);
    let found = &report["cause"];
    expect(
        found == &expected.cause,
        format!("{found} in place of {}: {}", expected.cause, report["findings"]),
    );

    // In a world of its own: the first requests to this one have used up some of its faults.
    let other = World::of(&case).await;
    let text = report.to_string() + &other.doctor_text(&expected.arguments);
    expect(
        !text.contains("eyJ") && !text.contains("planted"),
        format!("a token or a secret in {text}"),
    );

    let finding = finding(&report, &expected.cause);
    if let Some(code) = expected.aadsts {
        let predicted = finding["aadsts"].as_array();
        let is_predicted = predicted.is_some_and(|codes| codes.contains(&code.into()));
        expect(
            is_predicted,
            format!("the doctor predicts {predicted:?}, not {code}"),
        );
        let answer = other.answer_of_entra(&expected.arguments).await;
        expect(answer == code, format!("Entra answers {answer}, not {code}"));
    }
    if let Some(files) = case.files() {
        let findings = world::lint(&files)["findings"].clone();
        // A rule does not tell the numbers of a family apart, such as 700213 and 7002138.
        let symptom = findings[0]["symptom"].as_str().unwrap_or_default();
        let code = format!("AADSTS{}", expected.aadsts.unwrap());
        expect(
            findings.as_array().unwrap().len() == 1 && !symptom.is_empty() && code.starts_with(symptom),
            format!("lint predicts {findings}, not {code}"),
        );
    }

    if let Some(reason) = &expected.not_ours {
        expect(
            !reason.is_empty(),
            "no reason why no command can fix it".to_owned(),
        );
    } else {
        let is_applied = remedy::apply(&mut world, finding);
        expect(is_applied, format!("no remedy in {finding:#}"));
        let report = world.doctor(&expected.arguments);
        expect(
            report["cause"].is_null(),
            format!("still broken after the remedy: {report:#}"),
        );
    }
    failures
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_of_another_process_finds_the_same_cause() {
    for name in ["subject-with-a-typo", "service-account-default"] {
        let cases = cases();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let report = World::of(case).await.doctor_of_process();
        assert_eq!(report["cause"], case.doctor().cause, "{report:#}");
    }
}

/// Through the environment of a process, not one that the test builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_variables_of_the_process_reach_the_doctor() {
    let cases = cases();
    let proxy_down = cases.iter().find(|case| case.name == "http-proxy-down").unwrap();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let mut world = World::of(proxy_down).await;
        world.environment = [(name.to_owned(), "not a url".to_owned())].into();
        let report = world.doctor(&[]);
        let cause = finding(&report, "EW204")["cause"].as_str().unwrap();
        assert!(
            cause.starts_with(&format!("{name} is not the URL of a proxy")),
            "{cause}"
        );
    }
}

/// A tired person reads the end first: there are the remedies and the link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_begins_with_the_checklist_and_ends_with_the_remedies() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case.name == "subject-with-a-typo")
        .unwrap();
    let text = World::of(case).await.doctor_text(&[]);
    let parts = [
        "  ok  variables",
        "FAIL  token request",
        "error[EW404]",
        "presented",
        "Who can fix EW404: tenant administrator",
        "az identity federated-credential create",
        "or, in Terraform:",
        "or, in Bicep:",
        "#ew404",
    ];
    let places: Vec<usize> = parts.iter().map(|part| text.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(
        text.starts_with(parts[0]) && text.trim_end().ends_with(parts[8]),
        "{text}"
    );
}

#[test]
fn each_broken_set_up_differs_and_cites_its_report() {
    let cases = cases();
    for case in &cases {
        assert!(case.source.starts_with("https://"), "{}", case.name);
        assert!(case.what.ends_with('.'), "{}", case.name);
    }
    let whats: BTreeSet<_> = cases.iter().map(|case| &case.what).collect();
    assert_eq!(whats.len(), cases.len());
}

fn finding<'a>(report: &'a Value, code: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["code"] == code)
        .unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_for_the_api_server_is_posted_by_neither_doctor_nor_token() {
    for case in cases()
        .iter()
        .filter(|case| case.name.starts_with("token-of-the-api-server"))
    {
        let world = World::of(case).await;
        world.doctor(&[]);
        let output = world.token();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("EW117"), "{error}");
        let requests = world.emulator.requests_to(Endpoint::Entra);
        assert!(
            requests.iter().all(|request| request.method() == "GET"),
            "{}",
            case.name
        );
    }
}

/// The doctor mostly waits for time limits.
const AT_A_TIME: usize = 4;
