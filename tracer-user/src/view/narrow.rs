//! Filters that take the calls of a row.

use crate::{
    analysis::detector::endpoint::FOLDED,
    model::connection::Role,
    store::{EndpointRow, endpoints::What},
    text::redact::Redactor,
};

/// Bytes of a path that are kept, at most: only the beginning of a longer one is known.
const CUT_FROM: usize = 253;

/// Filter for all calls of an endpoint; `None` where they have nothing in common.
pub fn to_endpoint(row: &EndpointRow<'_>, redactor: Redactor) -> Option<String> {
    let base = base(row, redactor);
    let path = redactor.url(&row.endpoint.path);
    match row.what {
        What::Other => None,
        What::Connects => Some(base + " outcome!=complete not has:method"),
        What::Unseen => Some(base + " not has:method"),
        // CONNECT has no path.
        What::Calls if path.is_empty() => Some(base),
        What::Calls if row.is_folded || path.len() >= CUT_FROM => Some(format!("{base} path~{}", pattern(&path))),
        What::Calls => Some(format!("{base} path={}", quoted(&path))),
    }
}

/// Filter for the calls of one path of an endpoint.
pub fn to_path(row: &EndpointRow<'_>, path: &str, redactor: Redactor) -> String {
    let (base, path) = (base(row, redactor), redactor.url(path));
    if path.len() >= CUT_FROM {
        format!("{base} path~{}", pattern(&path))
    } else {
        format!("{base} path={}", quoted(&path))
    }
}

fn base(row: &EndpointRow<'_>, redactor: Redactor) -> String {
    let role = if row.endpoint.role == Role::Client { "is:client" } else { "is:server" };
    let host = quoted(&redactor.authority(&row.endpoint.authority));
    if row.endpoint.method.is_empty() {
        return format!("{role} host={host}");
    }
    format!("{role} method={} host={host}", quoted(&row.endpoint.method))
}

/// The text as a value of the filter language.
pub fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:*%+,@$".contains(character);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if character == '"' || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// A regular expression for a path. Special characters of the expression, and those that cannot be typed, match
/// anything.
fn pattern(path: &str) -> String {
    let mut pattern = String::from("^");
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            pattern.push('/');
        }
        if segment == FOLDED {
            pattern.push_str("[^/]+");
            continue;
        }
        for character in segment.chars() {
            if character.is_ascii_alphanumeric() || "-_~%:@,=&;".contains(character) {
                pattern.push(character);
            } else if character == '.' {
                pattern.push_str("[.]");
            } else if !pattern.ends_with(".+") {
                pattern.push_str(".+");
            }
        }
    }
    if path.len() < CUT_FROM {
        pattern.push('$');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_expressions() {
        assert_eq!(pattern("/v1/orders/{}/items.json"), "^/v1/orders/[^/]+/items[.]json$");
        assert_eq!(pattern("/a(b|*\u{202e})/{}"), "^/a.+b.+/[^/]+$");
        assert!(!pattern(&"/a".repeat(130)).ends_with('$'), "it may go on");
    }

    #[test]
    fn values_are_quoted_where_they_must() {
        assert_eq!(quoted("/v1/orders"), "/v1/orders");
        assert_eq!(quoted("-x"), "\"-x\"");
        assert_eq!(quoted("a \"b\" | \\"), r#""a \"b\" | \\""#);
    }
}
