//! Broken set-ups, each from a real report: the doctor names the first cause, its remedy mends it, and
//! Entra answers with the code that was predicted.

mod case;
mod remedy;
mod world;

use std::collections::BTreeSet;

use entra_workload_emulator::Endpoint;
use serde_json::Value;

use case::{Case, cases};
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_the_first_cause_of_every_broken_set_up() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Some(expected) = &case.doctor else { continue };
        let world = World::of(&case).await;
        let report = world.doctor(&expected.arguments);
        if report["cause"] != expected.cause {
            let Case { name, .. } = case;
            let (cause, findings) = (&report["cause"], &report["findings"]);
            wrong.push(format!(
                "{name}: {cause} in place of {}: {findings}",
                expected.cause
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn printed_remedy_makes_the_next_run_healthy() {
    let mut mended = 0;
    for case in cases() {
        let Some(expected) = &case.doctor else { continue };
        let mut world = World::of(&case).await;
        let report = world.doctor(&expected.arguments);
        if let Some(reason) = &expected.not_ours {
            assert!(!reason.is_empty(), "{}", case.name);
            continue;
        }
        let finding = finding(&report, &expected.cause);
        assert!(
            remedy::apply(&mut world, finding),
            "{}: no remedy in {finding:#}",
            case.name
        );
        let report = world.doctor(&expected.arguments);
        assert_eq!(report["cause"], Value::Null, "{}: {report:#}", case.name);
        mended += 1;
    }
    assert!(mended >= 30, "only {mended} are mended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_and_entra_agree_on_the_code() {
    let mut compared = 0;
    for case in cases() {
        let Some(expected) = &case.doctor else { continue };
        let Some(code) = expected.aadsts else { continue };
        let world = World::of(&case).await;
        let report = world.doctor(&expected.arguments);
        let predicted = finding(&report, &expected.cause)["aadsts"]
            .as_array()
            .unwrap()
            .clone();
        assert!(predicted.contains(&code.into()), "{}: {predicted:?}", case.name);
        assert_eq!(
            world.answer_of_entra(&expected.arguments).await,
            code,
            "{}",
            case.name
        );
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} are compared");
}

/// Where a case also has the manifests or modules that lead to it. That Entra answers with the code is tested above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lint_predicts_from_the_files_what_doctor_predicts_in_the_pod() {
    let mut compared = 0;
    for case in cases() {
        let Some(files) = case.files() else { continue };
        let code = case.doctor().aadsts.unwrap();
        let lint = world::lint(&files);
        let findings = lint["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{}: {findings:?}", case.name);
        // A rule does not tell the numbers of a family apart, such as 700213 and 7002138.
        let symptom = findings[0]["symptom"].as_str().unwrap();
        assert!(
            format!("AADSTS{code}").starts_with(symptom),
            "{}: {symptom}",
            case.name
        );
        let report = World::of(&case).await.doctor(&case.doctor().arguments);
        let predicted = &finding(&report, &case.doctor().cause)["aadsts"];
        assert!(
            predicted.as_array().unwrap().contains(&code.into()),
            "{}: {predicted}",
            case.name
        );
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} are compared");
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
fn there_are_sixty_broken_set_ups_and_each_cites_its_report() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
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

/// A token never gets into a report: the doctor's output in every case has no part of a JWT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_report_contains_a_token_or_a_secret() {
    for case in cases().iter().filter(|case| case.doctor.is_some()) {
        let world = World::of(case).await;
        let arguments = &Case::doctor(case).arguments;
        let text = world.doctor(arguments).to_string() + &world.doctor_text(arguments);
        assert!(
            !text.contains("eyJ") && !text.contains("planted"),
            "{}: {text}",
            case.name
        );
    }
}
