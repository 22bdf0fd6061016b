//! The rules: each finds its mistake and nothing in what is right; good manifests give no finding.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

#[test]
fn each_rule_finds_its_bad_fixture_and_nothing_in_its_good_one() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        let code = rule["code"].as_str().unwrap();
        let folder = fixtures().join(code);
        for entry in fs::read_dir(&folder).unwrap_or_else(|_| panic!("no fixtures of {code}")) {
            let file = entry.unwrap().path();
            let codes = codes(&[&file]);
            if file.file_stem().unwrap() == "bad" {
                assert_eq!(codes, BTreeSet::from([code.to_owned()]), "{}", file.display());
            } else {
                assert!(codes.is_empty(), "{}: {codes:?}", file.display());
            }
            seen.insert((code.to_owned(), file.file_stem().unwrap().to_owned()));
        }
    }
    assert_eq!(seen.len(), 2 * rules().len());
}

/// `more/CODE-NAME`: further mistakes of a rule.
#[test]
fn further_mistakes_are_found_by_their_rule_alone() {
    for entry in fs::read_dir(fixtures().join("more")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let code = name.split('-').next().unwrap().to_owned();
        assert_eq!(codes(&[&file]), BTreeSet::from([code]), "{name}");
    }
}

#[test]
fn bicep_that_is_newer_than_the_reader_is_read_in_part() {
    let file = fixtures().join("partly/newer.bicep");
    let output = lint(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("read in part: line 1"),
        "{}",
        text(&output)
    );
}

#[test]
fn deep_nesting_is_noted_and_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", format!("a:\n{}x", "- ".repeat(5000)));
    write(
        "b.yaml",
        (0..2500).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n"),
    );
    let nested = "resource a 'Microsoft.Storage/storageAccounts@2023-05-01' = {\n".repeat(5000);
    write("c.bicep", nested + &"}\n".repeat(5000));
    write(
        "d.yaml",
        fs::read_to_string(fixtures().join("EW604/bad.yaml")).unwrap(),
    );
    let output = lint(&[folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr)
            .matches("nested too deep")
            .count(),
        2
    );
}

#[test]
fn value_of_a_secret_is_masked_in_every_notation() {
    let bad = fs::read_to_string(fixtures().join("EW614/bad.yaml")).unwrap();
    let lines = "- name: AZURE_CLIENT_SECRET\n              value: planted";
    for notation in [
        r#"- {"name": "AZURE_CLIENT_SECRET", "value": "planted"}"#,
        r#"- {"name":"AZURE_CLIENT_SECRET","value":"planted"}"#,
        r"- {value: planted, name: AZURE_CLIENT_SECRET}",
    ] {
        let shown = text(&with_input(&bad.replace(lines, notation)));
        assert!(shown.contains("EW614") && !shown.contains("planted"), "{shown}");
    }
}

#[test]
fn fix_keeps_comments_and_leaves_anchors_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let bad = fs::read_to_string(fixtures().join("EW603/bad.yaml")).unwrap();
    let (before, rest) = bad.split_once("azure.workload.identity/use: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    for (value, expected) in [
        ("'True'   # keep", "\"true\"   # keep"),
        ("&label \"True\"", "&label \"True\""),
    ] {
        let with = |value: &str| format!("{before}azure.workload.identity/use: {value}\n{after}");
        fs::write(&file, with(value)).unwrap();
        lint(&["--fix", file.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&file).unwrap(), with(expected));
    }
}

/// Charts have such keys; Helm and kubectl keep the last.
#[test]
fn the_last_of_two_equal_keys_counts() {
    let good = fs::read_to_string(fixtures().join("EW603/good.yaml")).unwrap();
    let label = "azure.workload.identity/use: 'true'";
    let line = good.lines().find(|line| line.contains(label)).unwrap();
    let wrong = line.replace("'true'", "'yes'");
    for (lines, expected) in [
        ([&wrong, line], vec![]),
        ([line, &wrong], vec!["EW603".to_owned()]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.yaml"),
            good.replacen(line, &lines.join("\n"), 1),
        )
        .unwrap();
        assert_eq!(codes(&[folder.path()]), BTreeSet::from_iter(expected));
    }
}

#[test]
fn file_that_is_named_twice_is_read_once() {
    let folder = fixtures().join("good-manifests/two-identities");
    assert_eq!(codes(&[&folder, &folder.join("main.tf")]), BTreeSet::new());
}

#[test]
fn good_manifests_and_modules_give_no_finding() {
    let files: Vec<PathBuf> = fs::read_dir(fixtures().join("good-manifests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let output = lint(&["--deny-warnings", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(output.stderr.is_empty(), "{}", text(&output));
    }
}

/// The same names in two folders of Terraform, or in two files of Bicep, are other resources.
#[test]
fn names_of_two_modules_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let (terraform, bicep) = ("aks/main.tf", "bicep/main.bicep");
    for (module, fixture) in [("a", terraform), ("b", terraform), ("c", bicep), ("d", bicep)] {
        let name = format!("{module}/{}", fixture.rsplit('/').next().unwrap());
        fs::create_dir(folder.path().join(module)).unwrap();
        fs::copy(
            fixtures().join("good-manifests").join(fixture),
            folder.path().join(name),
        )
        .unwrap();
    }
    assert_eq!(codes(&[folder.path()]), BTreeSet::new());
}

#[test]
fn the_files_in_examples_kubernetes_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes");
    let output = lint(&["--deny-warnings", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
}

/// A Secret in place of the service account, the annotation directly under `metadata`, the label on the Deployment.
#[test]
fn each_mistake_of_the_well_known_article_is_named() {
    let expected = ["EW601", "EW620", "EW621"].map(str::to_owned);
    assert_eq!(codes(&[&fixtures().join("article")]), BTreeSet::from(expected));
}

/// `UPDATE=1 cargo test -p entra-workload-cli --test integration lint::` writes them.
#[test]
fn page_of_the_lint_rules_has_a_section_for_each_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint-rules.md");
    let page = fs::read_to_string(&path).unwrap();
    let start = "<!-- rules: written by cli/tests/integration/lint.rs -->\n\n";
    let (before, rest) = page.split_once(start).unwrap();
    let (_, after) = rest.split_once("<!-- end of rules -->").unwrap();
    let sections = rules().iter().map(section).collect::<String>();
    let expected = format!("{before}{start}{sections}<!-- end of rules -->{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

/// Without the cause, which `lint --explain` prints, and the owner of most rules.
fn section(rule: &Value) -> String {
    let text = |name: &str| rule[name].as_str().unwrap();
    let owner = Some(text("owner")).filter(|owner| *owner != "developer");
    let aadsts = Some(text("symptom")).filter(|symptom| symptom.starts_with("AADSTS"));
    let notes: Vec<&str> = owner.into_iter().chain(aadsts).collect();
    let notes = match &notes[..] {
        [] => String::new(),
        notes => format!(" ({})", notes.join(", ")),
    };
    let (code, title, fix) = (text("code"), text("title"), text("fix"));
    format!("### {code}\n\n**{title}**{notes}: {fix}\n\n")
}

#[test]
fn fix_mends_what_is_certain_and_keeps_the_rest() {
    for (code, name) in [
        ("EW603", "bad.yaml"),
        ("EW703", "bad.tf"),
        ("EW703", "bad.bicep"),
        ("EW706", "bad.tf"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let before = fs::read_to_string(fixtures().join(code).join(name)).unwrap();
        fs::write(&file, &before).unwrap();
        let output = lint(&["--fix", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        let after = fs::read_to_string(&file).unwrap();
        let changed = before
            .lines()
            .zip(after.lines())
            .filter(|(one, other)| one != other);
        assert_eq!(changed.count(), 1, "{after}");
        assert_eq!(before.lines().count(), after.lines().count());
    }
}

#[test]
fn comment_with_a_reason_silences_a_rule_and_one_without_does_not() {
    let bad = fs::read_to_string(fixtures().join("EW604/bad.yaml")).unwrap();
    let comment = |comment: &str| {
        let label = "azure.workload.identity/use: \"true\"";
        bad.replace(label, &format!("{label} # entra-workload: ignore EW604{comment}"))
    };
    let silent = with_input(&comment(" because an admission policy sets it"));
    assert!(silent.status.success(), "{}", text(&silent));
    let loud = with_input(&comment(""));
    assert_eq!(loud.status.code(), Some(1));
    assert!(
        text(&loud).contains("it needs `because` and a reason"),
        "{}",
        text(&loud)
    );
    let other = with_input(&comment(" because of EW1").replace("EW604", "EW601"));
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn exit_code_tells_who_can_mend_the_worst_finding() {
    for (code, name, exit) in [
        ("EW601", "bad.yaml", 1),
        ("EW619", "bad.yaml", 2),
        ("EW707", "bad.tf", 3),
    ] {
        let file = fixtures().join(code).join(name);
        assert_eq!(
            lint(&[file.to_str().unwrap()]).status.code(),
            Some(exit),
            "{code}"
        );
    }
    let warning = fixtures().join("EW614/bad.yaml");
    assert_eq!(lint(&[warning.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(
        lint(&["--deny-warnings", warning.to_str().unwrap()])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(lint(&[]).status.code(), Some(64));
    assert_eq!(lint(&["no-such-file.yaml"]).status.code(), Some(64));
}

#[test]
fn every_format_names_file_line_and_code() {
    let file = fixtures().join("EW601/bad.yaml");
    let file = file.to_str().unwrap();
    let shown = text(&lint(&[file]));
    assert!(
        shown.contains("error[EW601]") && shown.contains("bad.yaml:15:5"),
        "{shown}"
    );
    let annotation = text(&lint(&["--format", "github", file]));
    assert!(
        annotation.starts_with("::error file=") && annotation.contains(",line=15,col=5,title=EW601 "),
        "{annotation}"
    );
    let log: Value = serde_json::from_slice(&lint(&["--format", "sarif", file]).stdout).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "EW601");
    assert_eq!(
        result["locations"][0]["physicalLocation"]["region"]["startLine"],
        15
    );
}

#[test]
fn value_of_a_secret_on_the_shown_line_is_masked() {
    let bad = fs::read_to_string(fixtures().join("EW614/bad.yaml")).unwrap();
    let on_one_line = bad.replace(
        "- name: AZURE_CLIENT_SECRET\n              value: planted",
        "- {name: AZURE_CLIENT_SECRET, value: \"planted\"}",
    );
    let shown = text(&with_input(&on_one_line));
    assert!(
        shown.contains("…AZURE_CLIENT_SECRET…") && shown.contains(":29:22"),
        "{shown}"
    );
    assert!(!shown.contains("planted"), "{shown}");

    // Beside a finding that is about something else.
    let of_another = fs::read_to_string(fixtures().join("EW622/bad.yaml")).unwrap();
    let file = "- name: AZURE_FEDERATED_TOKEN_FILE\n              value: ";
    let (before, rest) = of_another.split_once(file).unwrap();
    let (path, after) = rest.split_once('\n').unwrap();
    let on_one_line =
        format!("{before}- {{name: AZURE_FEDERATED_TOKEN_FILE, value: {path}, note: planted}}\n{after}");
    let shown = text(&with_input(&on_one_line));
    assert!(shown.contains(path) && shown.contains("EW622"), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");

    let secret = r#"{"kind":"Secret","apiVersion":"v1","type":"kubernetes.io/service-account-token","data":{"token":"planted"},"metadata":{"annotations":{"azure.workload.identity/client-id":"x"}}}"#;
    let shown = text(&with_input(secret));
    assert!(shown.contains("EW620") && !shown.contains("planted"), "{shown}");

    let proxy = fs::read_to_string(fixtures().join("EW616/bad.yaml")).unwrap();
    let (before, rest) = proxy.split_once("- name: HTTPS_PROXY\n").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let proxy = "- {value: http://user:planted@proxy:8080, name: HTTPS_PROXY}";
    let shown = text(&with_input(&format!("{before}{proxy}\n{after}")));
    assert!(shown.contains("EW616") && !shown.contains("planted"), "{shown}");
}

/// The value of a block scalar begins in another line, and what is after it must stay.
#[test]
fn fix_leaves_a_block_scalar_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let good = fs::read_to_string(fixtures().join("EW603/good.yaml")).unwrap();
    let block = good.replace("use: 'true'", "use: |-\n          True");
    fs::write(&file, &block).unwrap();
    assert_eq!(codes(&[&file]), BTreeSet::from(["EW603".to_owned()]));
    lint(&["--fix", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), block);
}

/// Neither a module nor another resource need have the other attribute, and a name can be used elsewhere.
#[test]
fn fix_leaves_what_is_not_certain_alone() {
    for name in ["EW706-module.tf", "EW703-local.tf", "EW703-trimsuffix.tf"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.tf");
        let before = fs::read_to_string(fixtures().join("more").join(name)).unwrap();
        fs::write(&file, &before).unwrap();
        lint(&["--fix", file.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{name}");
    }
}

#[test]
fn rules_and_codes_of_the_doctor_are_explained() {
    for (code, part) in [
        ("ew601", "EW601: label is on the workload"),
        ("EW404", "EW404: no federated"),
    ] {
        let shown = text(&lint(&["--explain", code]));
        assert!(shown.starts_with(part) && shown.contains("Fix: "), "{shown}");
    }
    let unknown = lint(&["--explain", "EW999"]);
    assert_eq!(unknown.status.code(), Some(64));
}

#[test]
fn empty_input_and_fixes_of_the_input_are_refused() {
    let nothing = with_input("\n");
    assert_eq!(nothing.status.code(), Some(64));
    assert!(text(&nothing).contains("there is nothing to read"));
    let fix = lint(&["--fix", "-"]);
    assert_eq!(fix.status.code(), Some(64));
}

#[test]
fn exit_code_does_not_depend_on_the_order_of_equal_findings() {
    let (policy, account) = ("EW619/bad.yaml", "EW604/bad.yaml");
    let read = |name: &str| fs::read_to_string(fixtures().join(name)).unwrap();
    let codes = [(policy, account), (account, policy)].map(|(one, other)| {
        let other = read(other).replace("orders", "billing").replace("shop", "other");
        with_input(&format!("{}\n---\n{other}", read(one))).status.code()
    });
    assert_eq!(codes, [Some(2), Some(2)]);
}

#[test]
fn unreadable_files_are_noted_and_the_others_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken.yaml"), "a: [").unwrap();
    fs::write(folder.path().join("chart.yaml"), "name: {{ .Values.name }}").unwrap();
    fs::write(folder.path().join("broken.tf"), "resource {").unwrap();
    fs::write(folder.path().join("broken.bicep"), "resource {").unwrap();
    fs::copy(fixtures().join("EW604/bad.yaml"), folder.path().join("z.yaml")).unwrap();
    let output = lint(&[folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes.matches("not read").count(), 4, "{notes}");
}

#[test]
fn named_file_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.yaml", "a: ["),
        ("b.yaml", "a: {{ .b }}"),
        ("c.tf", "resource {"),
        ("d.bicep", "resource {"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let output = lint(&[file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(64), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(name));
    }
    let output = with_input("a: [");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("<stdin>: not read: line"));
}

#[test]
fn braces_in_a_string_do_not_make_a_manifest_a_template() {
    let rule = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n  summary: \"{{ $labels.pod }}\"\n---\n";
    let bad = fs::read_to_string(fixtures().join("EW604/bad.yaml")).unwrap();
    let output = with_input(&(rule.to_owned() + &bad));
    assert!(text(&output).contains("EW604"), "{}", text(&output));
    let template = bad.replace("name: orders", "name: {{ .Values.name }}");
    assert!(text(&with_input(&template)).contains("it is a template"));
}

#[test]
fn mutated_files_cause_no_panic_and_secrets_are_not_printed() {
    let mut sources: Vec<Vec<u8>> = Vec::new();
    for rule in rules() {
        let folder = fixtures().join(rule["code"].as_str().unwrap());
        for entry in fs::read_dir(folder).expect("each rule has fixtures") {
            sources.push(fs::read(entry.unwrap().path()).unwrap());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    for index in 0..10_000 {
        let mut bytes = sources[random(sources.len())].clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, b"\"'{}[]:#-\n\t&*!|>%@`\xc3\xa9"[random(21)]),
                2 => {
                    let end = (at + random(40)).min(bytes.len());
                    bytes.drain(at..end);
                }
                _ => {
                    let end = (at + random(80)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let ending = ["tf", "bicep", "yaml", "yaml"][index % 4];
        fs::write(folder.path().join(format!("{index}.{ending}")), bytes).unwrap();
    }
    let shown = lint(&[folder.path().to_str().unwrap()]);
    assert!(matches!(shown.status.code(), Some(0..=3)), "{}", text(&shown));
    assert!(
        !text(&shown).contains("planted"),
        "a value of a secret is printed"
    );
    let output = lint(&["--format", "json", folder.path().to_str().unwrap()]);
    assert!(
        matches!(output.status.code(), Some(0..=3)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["findings"].as_array().unwrap().len() > 100);
    assert!(
        !text(&output).contains("planted"),
        "a value of a secret is printed"
    );
}

fn rules() -> Vec<Value> {
    let output = lint(&["--list-rules", "--format", "json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn codes(paths: &[&Path]) -> BTreeSet<String> {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    let output = lint(&["--format", "json"].into_iter().chain(paths).collect::<Vec<_>>());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}

fn lint(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn with_input(input: &str) -> Output {
    let mut child = command()
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entra-workload"));
    command.arg("lint");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}
