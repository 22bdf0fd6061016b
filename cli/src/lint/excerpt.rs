use std::ops::Range;

use super::rule::Problem;
use super::source::Source;
use crate::escape;

/// The line of a problem, as it may be shown: escaped, and without what can be a secret.
pub(super) struct Excerpt {
    pub(super) line: String,
    /// Counted from 1.
    pub(super) number: usize,
    /// The place of the problem in `line`, in bytes.
    pub(super) span: Range<usize>,
}

impl Excerpt {
    pub(super) fn of(source: &Source, problem: &Problem) -> Self {
        let number = source.line_of(problem.span.start);
        let (line, start) = (source.line(number), source.start_of(number));
        let place = (problem.span.start - start).min(line.len());
        // A problem of several lines is shown in its first one.
        let end = (problem.span.end - start).min(line.len());
        let shown = line.get(place..end).unwrap_or_default();
        // A value of megabytes is cut, and a line can have thousands of findings.
        let shown = if shown.len() > LONGEST {
            shown
        } else {
            shown.trim_end()
        };
        let (before, after) = (line.get(..place), line.get(place + shown.len()..));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        // A comma at the end of the line separates nothing in it.
        let is_beside = |after: &str| is_flow(after.trim_end().trim_end_matches(','));
        let (before, shown, after) = if line.len() > LONGEST || is_flow(before) || is_beside(after) {
            // Other values are beside it.
            let is_blank = |text: &str| text.len() <= LONGEST && text.trim().is_empty();
            let dots = |text: &str| if is_blank(text) { "" } else { ELLIPSIS }.to_owned();
            (dots(before), of_flow(shown), dots(after))
        } else {
            let previous = number.checked_sub(1).map(|previous| source.line(previous));
            let hidden = hidden(previous.unwrap_or_default(), line);
            let masked = |from: usize, text: &str| masked(from, text, &hidden);
            let after_start = place + shown.len();
            (
                masked(0, before),
                masked(place, shown),
                masked(after_start, after),
            )
        };
        Self {
            span: before.len()..before.len() + shown.len(),
            line: before + &shown + &after,
            number: number + 1,
        }
    }

    /// The column of the problem in `line` in characters, counted from 1.
    pub(super) fn column(&self) -> usize {
        let before = self.line.get(..self.span.start).unwrap_or_default();
        before.chars().count() + 1
    }
}

/// Whether a part of a line has other values of a map or of a list in one line. An interpolation of Terraform is none.
fn is_flow(text: &str) -> bool {
    let text = text.replace("${", "");
    text.contains(['{', '}']) || text.contains(['[', ']']) && text.contains(',') || is_separated(&text)
}

/// Whether there is a comma outside quotes and comments.
fn is_separated(text: &str) -> bool {
    let mut quote = None;
    let mut last = ' ';
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        let is_first = last.is_whitespace() || STRUCTURE.contains(last);
        let rest = text.get(index..).unwrap_or_default();
        match (quote, c) {
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '\'') if is_first => quote = Some(c),
            (None, _) if last.is_whitespace() && (c == '#' || rest.starts_with("//")) => break,
            (None, ',') => return true,
            _ => {}
        }
        last = c;
    }
    // A text of several lines can begin or end here.
    quote.is_some() && text.contains(',')
}

/// A span as it may be shown beside other values: short, and without what is in it.
fn of_flow(shown: &str) -> String {
    if shown.starts_with(['{', '[']) {
        return ELLIPSIS.to_owned();
    }
    let end = shown.char_indices().nth(LONGEST).map(|(end, _)| end);
    let part = shown.get(..end.unwrap_or(shown.len())).unwrap_or_default();
    let hidden: Vec<_> = users(part).chain(secrets(part)).collect();
    masked(0, part, &hidden) + if end.is_some() { ELLIPSIS } else { "" }
}

/// Returns what follows the name of a secret variable, in any notation, the user of a URL, and what looks like a token,
/// a key or a client secret, whatever its name.
fn hidden(previous: &str, line: &str) -> Vec<Range<usize>> {
    let names_secret = |line: &str| {
        let line = line.to_ascii_uppercase().replace("_TOKEN_FILE", "");
        SECRETS.iter().any(|name| line.contains(name))
    };
    let value = line.find(VALUE).map(|start| start + VALUE.len());
    let is_secret =
        names_secret(line) || previous.len() > LONGEST || names_secret(previous) && !previous.contains(VALUE);
    let value = value.filter(|_| is_secret).map(|start| start..line.len());
    value
        .into_iter()
        .chain(users(line))
        .chain(secrets(line))
        .collect()
}

/// The users of URLs.
fn users(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(scheme, mark)| {
        let start = scheme + mark.len();
        let authority = text.get(start..)?.split(['/', '"', '\'', ' ']).next()?;
        Some(start..start + authority.rfind('@')?)
    })
}

/// The words that look like a JWT or a client secret of Entra, and PEM to the end of the line.
fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_secret = |word: &str| {
        word.starts_with("eyJ")
            || word.contains(".eyJ")
            || word.len() >= SHORTEST_SECRET && word.contains('~')
    };
    let words = text.split([' ', '"', '\'', ',', '=']).scan(0, |start, word| {
        let range = *start..*start + word.len();
        *start = range.end + 1;
        Some((range, word))
    });
    let words = words.filter_map(move |(range, word)| is_secret(word).then_some(range));
    words.chain(text.find("-----BEGIN").map(|start| start..text.len()))
}

/// Part of a line, escaped, with stars for what is hidden.
///
/// * `from`: where it begins in the line.
fn masked(from: usize, text: &str, hidden: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut open = String::new();
    for (index, c) in text.char_indices() {
        let is_hidden = hidden.iter().any(|range| range.contains(&(from + index)));
        if is_hidden && !STRUCTURE.contains(c) {
            masked += &escape::line(&std::mem::take(&mut open)).to_string();
            masked.push('*');
        } else if c == '\t' {
            open += "    ";
        } else {
            open.push(c);
        }
    }
    masked + &escape::line(&open).to_string()
}

const VALUE: &str = "value";

/// Parts of the names of variables.
const SECRETS: [&str; 5] = ["_SECRET", "PASSWORD", "CONNECTION_STRING", "_KEY", "_TOKEN"];

/// Client secrets of Entra have 40 characters, and one of them is `~`.
const SHORTEST_SECRET: usize = 24;

const STRUCTURE: &str = ":, \"'{}[]";

/// In bytes; a longer line would not fit on a screen.
const LONGEST: usize = 200;

const ELLIPSIS: &str = "…";
