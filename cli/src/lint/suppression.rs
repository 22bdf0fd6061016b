use super::Finding;
use super::source::Source;

/// Whether a comment on the line of a finding, or on the line before, silences its rule.
///
/// A comment without a reason silences nothing, and is noted.
pub(super) fn is_silenced(sources: &[Source], finding: &Finding, notes: &mut Vec<String>) -> bool {
    let Some(source) = sources.get(finding.problem.source) else {
        return false;
    };
    let line = source.line_of(finding.problem.span.start);
    let lines = (line.saturating_sub(1)..=line).map(|line| source.line(line));
    for comment in lines
        .filter_map(|line| line.split_once(MARK))
        .map(|(_, comment)| comment)
    {
        let (codes, reason) = comment.split_once(" because ").unwrap_or((comment, ""));
        if codes.split([' ', ',']).any(|code| code == finding.rule.code) {
            if !reason.trim().is_empty() {
                return true;
            }
            notes.push(format!(
                "{}:{}: the comment does not silence {}: it needs `because` and a reason",
                source.path,
                line + 1,
                finding.rule.code
            ));
        }
    }
    false
}

const MARK: &str = "entra-workload: ignore ";
