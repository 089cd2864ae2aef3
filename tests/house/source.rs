//! Just enough of Rust's grammar to count lines of functions and to see which paths a file names.

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of the word `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace, both included.
    pub(crate) lines: usize,
}

/// The text with comments and the contents of literals as spaces, line breaks kept.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(
            chars[at..end]
                .iter()
                .map(|c| if *c == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    out
}

/// Every function with a body in `code`, which [`blank`] made.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let name = tokens.get(at + 1).map_or("", |(_, name)| name.as_str());
        if token != "fn" || !is_word(name) {
            continue;
        }
        if let Some(end) = body_end(&tokens[at + 2..]) {
            found.push(Function {
                name: name.to_owned(),
                line: *line,
                lines: end - line + 1,
            });
        }
    }
    found
}

/// Every path in `code`, `use` trees expanded: `a::b::c`; a renamed or whole crate is `a`.
pub(crate) fn paths(code: &str) -> Vec<String> {
    let tokens: Vec<String> = tokens(code).into_iter().map(|(_, token)| token).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = use_tree(&tokens, at + 1, "", &mut found);
        } else if is_word(&tokens[at]) && tokens.get(at + 1).is_some_and(|next| next == "::") {
            let mut path = tokens[at].clone();
            while tokens.get(at + 1).is_some_and(|next| next == "::") {
                let Some(next) = tokens.get(at + 2).filter(|next| is_word(next)) else {
                    break;
                };
                path = format!("{path}::{next}");
                at += 2;
            }
            found.push(path);
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one tree of a `use` declaration and returns where it ended.
fn use_tree(tokens: &[String], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let start = at;
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                    at = at.max(start + 1);
                }
                return at + 1;
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            word => {
                path = if path.is_empty() {
                    word.to_owned()
                } else {
                    format!("{path}::{word}")
                };
                at += 1;
            }
        }
    }
    found.push(path);
    at
}

/// The line of the brace that closes the body, or nothing for a declaration without one.
fn body_end(tokens: &[(usize, String)]) -> Option<usize> {
    let (mut round, mut braces) = (0_usize, 0_usize);
    for (line, token) in tokens {
        match token.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round = round.saturating_sub(1),
            ";" if round == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" if braces <= 1 => return Some(*line),
            "}" => braces -= 1,
            _ => {}
        }
    }
    None
}

fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word_char(first) {
                rest.find(|c: char| !is_word_char(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push((line + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    found
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied();
    let word_before = at > 0 && is_word_char(chars[at - 1]);
    match (chars[at], next(1)) {
        ('/', Some('/')) => find(chars, at, '\n'),
        ('/', Some('*')) => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1),
        ('\'', Some('\\')) => find(chars, at + 3, '\'') + 1,
        ('\'', Some(_)) if next(2) == Some('\'') => at + 3,
        ('r' | 'b' | 'c', _) if !word_before => prefixed_end(chars, at).unwrap_or(at),
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    (from..chars.len())
        .find(|at| chars[*at] == wanted)
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a literal with a prefix: `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `c"…"`.
fn prefixed_end(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    while matches!(chars.get(at), Some('b' | 'c' | 'r')) && at < start + 2 {
        at += 1;
    }
    let raw = chars[start..at].contains(&'r');
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') || (hashes > 0 && !raw) {
        return None;
    }
    let body = at + hashes + 1;
    if !raw {
        return Some(string_end(chars, body));
    }
    let closes =
        |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take(hashes).all(|c| *c == '#');
    (body..chars.len()).find(closes).map(|end| end + 1 + hashes)
}
