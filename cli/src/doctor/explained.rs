use entra_workload::diagnose::{Finding, Report};

use super::checklist::{self, Line};
use super::explanation::{self, Explanation};

/// A report in words.
pub(super) struct Explained<'a> {
    pub(super) report: &'a Report,
    pub(super) checks: Vec<Line>,
    /// In the order of the findings of the report.
    pub(super) findings: Vec<Explanation>,
}

impl<'a> Explained<'a> {
    /// * `deployment`: the Deployment that is diagnosed, for the commands.
    pub(super) fn new(report: &'a Report, deployment: Option<&str>) -> Self {
        let findings = explanation::explain(report, deployment);
        Self {
            report,
            checks: checklist::lines(report, &findings),
            findings,
        }
    }

    /// Returns the first cause, and the other findings.
    pub(super) fn split(&self) -> (Option<&Explanation>, Vec<&Explanation>) {
        let cause = self.report.cause();
        let is_cause = |finding: &Finding| cause.is_some_and(|cause| std::ptr::eq(cause, finding));
        let pairs = self.report.findings.iter().zip(&self.findings);
        let (causes, others): (Vec<_>, Vec<_>) = pairs.partition(|(finding, _)| is_cause(finding));
        let others = others.into_iter().map(|(_, explanation)| explanation);
        (
            causes.first().map(|(_, explanation)| *explanation),
            others.collect(),
        )
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use async_trait::async_trait;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use bytes::Bytes;
    use entra_workload::diagnose::{DiagnoseOptions, diagnose};
    use entra_workload::transport::Transport;
    use entra_workload::{Environment, Error, ErrorKind};
    use http::{Request, Response};
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn failed_check_says_what_was_presented_and_what_was_expected() {
        let token_file = async |claims: &Value| check_of(Entra::Refuses, claims, "token file").await;
        let for_api_server = json!({ "aud": "https://kubernetes.default.svc" });
        assert_eq!(
            token_file(&for_api_server).await,
            json!({
                "step": "token file",
                "state": "failed",
                "detail": "audience is https://kubernetes.default.svc, expected api://AzureADTokenExchange",
            })
        );
        let for_two_days = json!({ "aud": "api://AzureADTokenExchange", "iat": 4_102_272_000_u64 });
        assert_eq!(
            token_file(&for_two_days).await["detail"],
            "lifetime is 172800 s, expected at most 86400 s"
        );
    }

    #[tokio::test]
    async fn skipped_check_says_why() {
        let claims = json!({ "aud": "api://AzureADTokenExchange" });
        for (entra, step, detail) in [
            (
                Entra::Refuses,
                "issuer",
                "not reachable from this pod (Entra reads it, not the pod)",
            ),
            (
                Entra::Refuses,
                "clock",
                "not compared: the response of the login host has no date",
            ),
            (
                Entra::IsSilent,
                "clock",
                "not compared: the login host did not respond",
            ),
            (Entra::IsSilent, "token request", "follows from EW203"),
        ] {
            let check = check_of(entra, &claims, step).await;
            assert_eq!(
                (&check["state"], &check["detail"]),
                (&json!("skipped"), &json!(detail))
            );
        }
    }

    /// The fields of `doctor --json`.
    #[tokio::test]
    async fn json_of_a_finding_has_the_texts_and_the_commands() {
        let report = report(Entra::Refuses, &json!({ "aud": "api://AzureADTokenExchange" })).await;
        let explained = Explained::new(&report, Some("billing"));
        let (cause, others) = explained.split();
        let mut cause = serde_json::to_value(cause).expect("a finding is JSON");
        let remedies = cause["remedies"].take();
        assert_eq!(
            cause,
            json!({
                "code": "EW404",
                "severity": "error",
                "owner": "tenant administrator",
                "title": "no federated credential has this subject",
                "cause": cause["cause"],
                "evidence": [{
                    "what": "subject",
                    "presented": "system:serviceaccount:shop:orders",
                    "wanted": "a federated credential with exactly this value",
                }],
                "remedies": null,
                "aadsts": [700_213],
                "follows_from": null,
                "link": "https://docs.rs/entra-workload/latest/entra_workload/guide/troubleshooting/#ew404",
            })
        );
        let text = cause["cause"].as_str().expect("a text");
        assert!(
            text.contains("refused client") && !text.contains("EW404"),
            "{text}"
        );
        let tools = remedies.as_array().expect("remedies").iter();
        let tools: Vec<_> = tools.map(|remedy| remedy["tool"].clone()).collect();
        assert_eq!(tools, ["az", "az ad app", "terraform", "bicep"]);
        // The issuer cannot be read from here, which proves nothing.
        assert_eq!(others.len(), 1);
    }

    async fn check_of(entra: Entra, claims: &Value, step: &str) -> Value {
        let report = report(entra, claims).await;
        let checks = serde_json::to_value(Explained::new(&report, None).checks).expect("checks are JSON");
        let mut checks = checks.as_array().expect("a list").iter();
        checks
            .find(|check| check["step"] == step)
            .expect("the step")
            .clone()
    }

    /// Of a pod whose token has these claims beside issuer, subject and expiry.
    async fn report(entra: Entra, claims: &Value) -> Report {
        let mut all = json!({
            "iss": "https://issuer.example.com/",
            "sub": "system:serviceaccount:shop:orders",
            "exp": 4_102_444_800_u64,
        });
        for (name, value) in claims.as_object().expect("claims") {
            all[name] = value.clone();
        }
        let token = [json!({ "alg": "RS256" }), all].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let token = token.join(".") + ".cGxhbnRlZA";
        let environment = Environment::from_iter([
            ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
            ("AZURE_TENANT_ID", "4d4cf8a9-1d4c-4b5e-8a5e-0d2c8c1b7a11"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"),
        ]);
        let options = DiagnoseOptions::new()
            .transport(entra)
            .read_files(move |_| Ok(token.clone().into_bytes()));
        diagnose(&environment, &options).await
    }

    /// Knows the tenant and refuses each token request, or is silent. No other host is reachable.
    #[derive(Clone, Copy, Debug)]
    enum Entra {
        Refuses,
        IsSilent,
    }

    #[async_trait]
    impl Transport for Entra {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
            let is_of_entra = request.uri().host() == Some("login.microsoftonline.com");
            if !is_of_entra || matches!(self, Self::IsSilent) {
                return Err(Error::new(ErrorKind::Transport, "the host cannot be reached"));
            }
            let (status, body) = match request.method().as_str() {
                "GET" => (
                    200,
                    json!({ "token_endpoint": "https://login.microsoftonline.com/" }),
                ),
                _ => (
                    401,
                    json!({ "error": "invalid_client", "error_codes": [700_213] }),
                ),
            };
            let response = Response::builder().status(status);
            Ok(response.body(body.to_string().into()).expect("a response"))
        }
    }
}
