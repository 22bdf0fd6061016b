//! Limits, time-outs, shares and figures in the pages are those of the code and of the benchmarks.

use super::{one_line, read, table};

#[test]
fn documented_limits_are_those_of_the_source() {
    let mut wrong = Vec::new();
    for (page, text, constants) in LIMITS {
        let text = with_values(
            text,
            constants.iter().map(|(file, name)| constant(file, name)).sum(),
        );
        if !one_line(page).contains(&text) {
            wrong.push(format!("{page} lacks {text:?}"));
        }
    }
    for (page, text, file, expression) in SHARES {
        assert!(one_line(file).contains(expression), "{file} lacks {expression:?}");
        if !one_line(page).contains(text) {
            wrong.push(format!("{page} lacks {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_row_of_the_table_of_limits_is_compared_with_the_source() {
    let page = "docs/how-a-token-lives.md";
    let page_text = read(page);
    let rows = table(&page_text, "| limit |");
    assert!(!rows.is_empty());
    for row in rows {
        let row = format!("| {} |", row.join(" | "));
        let is_compared = LIMITS.iter().any(|(of, text, constants)| {
            let value = constants.iter().map(|(file, name)| constant(file, name)).sum();
            *of == page && row.contains(&with_values(text, value))
        });
        let is_share = SHARES
            .iter()
            .any(|(of, text, ..)| *of == page && row.contains(text));
        assert!(is_compared || is_share, "no entry of LIMITS compares {row}");
    }
}

#[test]
fn figures_in_the_readme_are_those_of_the_benchmarks() {
    let (readme, page) = (one_line("README.md"), read("benches/README.md"));
    for (text, row, column, unit) in FIGURES {
        let line = page.lines().find(|line| line.starts_with(row)).expect(row);
        let cell = line.split('|').nth(*column).unwrap().trim();
        let measured: f64 = cell.split(' ').next().unwrap().parse().expect(cell);
        let text = text.replace("{}", &format!("{:.0}", measured / unit));
        assert!(readme.contains(&text), "README.md lacks {text:?}");
    }
}

/// Replaces `{s}`, `{min}`, `{h}`, `{KiB}` and `{}` by the value in this unit.
fn with_values(text: &str, value: u64) -> String {
    let units = [
        ("{s}", 1),
        ("{min}", 60),
        ("{h}", 3600),
        ("{KiB}", 1024),
        ("{}", 1),
    ];
    let (placeholder, unit) = units
        .into_iter()
        .find(|(placeholder, _)| text.contains(placeholder))
        .unwrap();
    assert_eq!(value % unit, 0, "{text}: {value} has a remainder");
    let value = value / unit;
    let grouped = match value {
        0..1000 => value.to_string(),
        _ => format!("{},{:03}", value / 1000, value % 1000),
    };
    text.replace(placeholder, &grouped)
}

/// Returns the value of a constant: a number, or a duration in seconds.
fn constant(file: &str, name: &str) -> u64 {
    let source = read(file);
    let definition = source
        .split(&format!("const {name}: "))
        .nth(1)
        .unwrap_or_else(|| panic!("{file} has no constant {name}"));
    let definition = definition.split(";\n").next().unwrap();
    let expression = match definition.split_once("from_secs(") {
        Some((_, seconds)) => seconds.split(')').next().unwrap(),
        None => definition.split_once("= ").unwrap().1,
    };
    let factors = expression.split('*').map(|factor| factor.trim().replace('_', ""));
    factors
        .map(|factor| factor.parse::<u64>().expect(expression))
        .product()
}

const TOKEN: &str = "docs/how-a-token-lives.md";
const REJECTED: &str = "docs/rejected-tokens.md";
const SOURCES: &str = "docs/assertion-sources.md";
const CHAIN: &str = "docs/default-credential.md";
const BINDINGS: &str = "docs/identity-bindings.md";

const POLICY: &str = "src/cache/policy.rs";
const STATE: &str = "src/cache/state.rs";
const OPTIONS: &str = "src/credential/options.rs";
const BACKOFF: &str = "src/exchange/backoff.rs";
const TRANSPORT: &str = "src/transport.rs";
const PROXY: &str = "src/transport/token_proxy.rs";
const METADATA: &str = "src/credential/managed_identity/schedule.rs";

/// A page, its text with a value, and the constants whose sum is the value.
type Limit = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

#[rustfmt::skip]
const LIMITS: &[Limit] = &[
    (TOKEN, "| connecting, including the DNS query | {s} s;", &[(TRANSPORT, "CONNECT_TIMEOUT")]),
    (TOKEN, "to a token proxy {s} s |", &[(PROXY, "CONNECT_TIMEOUT")]),
    (TOKEN, "| one token request | {s} s |", &[(TRANSPORT, "ATTEMPT_TIMEOUT")]),
    (TOKEN, "| a fetch (option `timeout`) | {s} s;", &[(OPTIONS, "TIMEOUT")]),
    (TOKEN, "through a token proxy {s} s |", &[(OPTIONS, "TOKEN_PROXY_TIMEOUT")]),
    (TOKEN, "| the option `timeout` | {h} h |", &[(OPTIONS, "MAX_TIMEOUT")]),
    (TOKEN, "| token requests in a fetch that callers wait for | {} |", &[(BACKOFF, "MAX_ATTEMPTS")]),
    (TOKEN, "| `Retry-After` that is obeyed | {min} min |", &[(POLICY, "MAX_RETRY_AFTER")]),
    (TOKEN, "| cooldown | {s} s to", &[(POLICY, "COOLDOWN")]),
    (TOKEN, "s to {s} s |", &[(POLICY, "MAX_COOLDOWN")]),
    (TOKEN, "starts at {s} s and doubles", &[(POLICY, "COOLDOWN")]),
    (TOKEN, "in a row, up to {s} s,", &[(POLICY, "MAX_COOLDOWN")]),
    (TOKEN, "| a fetch from a managed identity (option `timeout`) or an SDK credential | {min} min |", &[("src/credential/sdk.rs", "SDK_FETCH_TIMEOUT")]),
    (TOKEN, "| a run of `az` or `azd` (option `timeout`) | {s} s |", &[("src/credential/developer_tools.rs", "TIMEOUT")]),
    (TOKEN, "(option `max_cached_tokens`) | {};", &[("src/cache.rs", "DEFAULT_MAX_SLOTS")]),
    (TOKEN, "| cached tokens with claims | {} |", &[("src/cache.rs", "MAX_SLOTS_WITH_CLAIMS")]),
    (TOKEN, "| token file | {KiB} KiB |", &[("src/assertion/projected_file.rs", "MAX_FILE")]),
    (TOKEN, "| certificate file | {KiB} KiB |", &[("src/assertion/certificate.rs", "MAX_FILE")]),
    (TOKEN, "| response of the token endpoint | {KiB} KiB |", &[(TRANSPORT, "MAX_BODY")]),
    (TOKEN, "| lifetime of a token | {h} h;", &[("src/exchange.rs", "MAX_LIFETIME")]),
    (TOKEN, "| after the first failure | after {s} s,", &[(POLICY, "REFRESH_PAUSE")]),
    (TOKEN, "| in the last {min} minutes,", &[(POLICY, "LAST_MINUTES")]),
    (TOKEN, "tolerated for {min} minutes,", &[("src/assertion/projected_file.rs", "CLOCK_SKEW")]),
    (TOKEN, "ask again {min} minutes before", &[("src/sdk/token.rs", "SDK_REFRESH_WINDOW")]),
    (TOKEN, "lost {s} s after the `timeout`", &[(OPTIONS, "GRACE_PERIOD"), (STATE, "COMPLETION_TIME")]),
    (REJECTED, "dropped at most once in {s} s", &[(STATE, "INVALIDATION_INTERVAL")]),
    (REJECTED, "at most {} different claims", &[(STATE, "MAX_RECENT_CLAIMS")]),
    (SOURCES, "After {s} s (method `timeout`)", &[("src/assertion/command.rs", "TIMEOUT")]),
    (SOURCES, "of at most {KiB} KiB", &[("src/assertion/command.rs", "MAX_OUTPUT")]),
    (SOURCES, "at most {} programs at a time", &[("src/process_group.rs", "MAX_RUNNING")]),
    (CHAIN, "answers within {s} s", &[("src/credential/managed_identity.rs", "PROBE_TIMEOUT")]),
    (CHAIN, "retried for up to {s} s", &[(METADATA, "METADATA_SERVICE")]),
    (BINDINGS, "takes at most {s} s (option `timeout`)", &[(OPTIONS, "TOKEN_PROXY_TIMEOUT")]),
];

/// A page, its text about a share, and the expression of a file that it describes.
#[rustfmt::skip]
const SHARES: &[(&str, &str, &str, &str)] = &[
    (TOKEN, "pauses of up to 0.5 s, 1 s and 2 s", BACKOFF, "const FIRST_CEILING: Duration = Duration::from_millis(500);"),
    (TOKEN, "or at half the lifetime", POLICY, "refresh_in .unwrap_or(lifetime / 2)"),
    (TOKEN, "part of up to a third is subtracted", POLICY, "const REFRESH_JITTER: f64 = 1.0 / 3.0;"),
    (TOKEN, "or a tenth of the lifetime if", POLICY, "REFRESH_PAUSE.min(lifetime / 10)"),
    (TOKEN, "half to three quarters of the remaining", POLICY, "const OUTAGE_SHARE: Range<f64> = 0.5..0.75;"),
    (TOKEN, "or the last sixth of the lifetime", POLICY, "LAST_MINUTES.min(lifetime / 6)"),
    (TOKEN, "| token requests in a background refresh | 1 |", BACKOFF, "Self::Background => 1,"),
    ("DESIGN.md", "up to 10 ms late", "src/clock.rs", "const TICK: Duration = Duration::from_millis(10);"),
];

/// The text of the README with the figure, and the row, the column and the unit of the figure in `benches/README.md`.
#[rustfmt::skip]
const FIGURES: &[(&str, &str, usize, f64)] = &[
    ("callers wait {} ms |", "| call during a refresh that takes 300 ms", 3, 1.0),
    ("request takes {} s |", "| `BlobServiceClient` with azure_identity", 5, 1000.0),
    ("| {} ms |", "| `BlobServiceClient` with entra-workload", 5, 1.0),
    ("error after {} s |", "| no token, the endpoint answers 503", 3, 1.0),
    ("| error after {} s |", "| no token, the endpoint answers 503", 2, 1.0),
];
