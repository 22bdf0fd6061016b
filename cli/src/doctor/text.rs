use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use entra_workload::diagnose::{Finding, Report, Severity, State, Tool};

/// The report for a person: a checklist, then the cause, then what to do.
///
/// * `objects_are_wrong`: whether lint has found an error in the objects of the cluster.
pub(super) fn report(report: &Report, objects_are_wrong: bool) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let (mark, style) = match check.state {
            State::Passed => ("ok", GREEN),
            State::Warned => ("warn", YELLOW),
            State::Failed => ("FAIL", RED),
            _ => ("-", DIM),
        };
        let _ = writeln!(
            text,
            "{style}{mark:>4}{style:#}  {:<17} {}",
            check.step.to_string(),
            check.detail
        );
    }
    let Some(cause) = report.cause() else {
        let _ = if objects_are_wrong {
            writeln!(
                text,
                "\nEntra accepts the token; mend the objects first, as shown above"
            )
        } else {
            writeln!(text, "\n{GREEN}healthy{GREEN:#}: this pod gets tokens")
        };
        for finding in &report.findings {
            let _ = writeln!(text, "note: {}", finding.cause);
        }
        return text;
    };
    if report.is_healthy() && !objects_are_wrong {
        let _ = writeln!(text, "\n{GREEN}healthy{GREEN:#}: this pod gets tokens, but:");
    }
    text.push('\n');
    problem(&mut text, cause);
    for finding in report
        .findings
        .iter()
        .filter(|finding| !std::ptr::eq(*finding, cause) && finding.severity > Severity::Info)
    {
        let _ = match finding.follows_from {
            Some(code) => writeln!(
                text,
                "\n  {} ({}) follows from {code}.",
                finding.code, finding.title
            ),
            None => writeln!(
                text,
                "\n  {} {}: {}.",
                finding.severity, finding.code, finding.cause
            ),
        };
    }
    // Independent errors are mended one by one.
    let others = report.findings.iter().filter(|finding| {
        finding.severity == Severity::Error
            && finding.follows_from.is_none()
            && !std::ptr::eq(*finding, cause)
    });
    for finding in others.chain([cause]) {
        remedies(&mut text, finding);
    }
    text
}

/// What is said in place of a report about an identity binding.
pub(super) fn binding(objects_are_wrong: bool) -> String {
    let objects = if objects_are_wrong {
        "Mend the objects first, as shown above."
    } else {
        "The objects are right."
    };
    format!(
        "\n{objects} The token proxy of an identity binding is reached by pods only; to check the exchange, too, run in \
         the pod:\n\n    kubectl debug -it POD --image IMAGE --target CONTAINER --profile sysadmin -- entra-workload \
         doctor --pid 1\n"
    )
}

fn problem(text: &mut String, finding: &Finding) {
    let style = match finding.severity {
        Severity::Error => RED,
        _ => YELLOW,
    };
    let _ = writeln!(
        text,
        "{style}{}[{}]{style:#}: {}\n\n  {}.",
        finding.severity,
        finding.code,
        finding.title,
        finding.cause.trim_end_matches('.')
    );
    if finding.evidence.is_empty() {
        return;
    }
    let rows = finding.evidence.iter();
    let mut rows: Vec<[&str; 3]> = rows
        .map(|row| [row.what, row.presented.as_str(), row.wanted.as_str()])
        .collect();
    rows.insert(0, ["", "presented", "wanted"]);
    let width = |cells: fn([&str; 3]) -> usize| rows.iter().map(|row| cells(*row)).max().unwrap_or(0);
    let what_width = width(|[what, ..]| what.chars().count());
    let presented_width = width(|[_, presented, _]| presented.chars().count());
    text.push('\n');
    for [what, presented, wanted] in rows {
        let _ = writeln!(
            text,
            "  {what:what_width$}  {presented:presented_width$}  {wanted}"
        );
    }
}

/// What to do comes last, where a person looks first.
fn remedies(text: &mut String, finding: &Finding) {
    let _ = writeln!(
        text,
        "\nWho can mend {}: {BOLD}{}{BOLD:#}\n",
        finding.code, finding.owner
    );
    let mut last = None;
    for remedy in &finding.remedies {
        if last.is_some_and(|last| last != remedy.tool) {
            let _ = writeln!(text, "or, {}:\n", heading(remedy.tool));
        }
        last = Some(remedy.tool);
        for line in remedy.text.lines() {
            let _ = writeln!(text, "    {line}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", finding.link);
}

fn heading(tool: Tool) -> &'static str {
    match tool {
        Tool::Az => "with az",
        Tool::Kubectl => "with kubectl",
        Tool::Yaml => "in the manifest",
        Tool::Terraform => "in Terraform",
        Tool::Bicep => "in Bicep",
        _ => "another way",
    }
}

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
