//! Cuts an exchange whose line would be too long.

use crate::model::exchange::{Body, Exchange, Fields};

/// Bytes of a line, at most, unless `--body-limit` is larger: bodies alone take at most half. Heads are bounded as
/// well, but each of their bytes may become an escape of six, and a target is written three times.
const LINE: usize = 8 << 20;
/// Bytes of a target, and of a header section, that are kept.
const PART: usize = 16 * 1024;

/// Bytes of a line, at most, for this limit of a body.
pub(super) fn line_limit(decoded_limit: usize) -> usize {
    LINE.max(decoded_limit.saturating_mul(8))
}

/// The exchange without bodies, trailers and interim responses, and with the beginnings of everything else.
pub(super) fn cut(exchange: &Exchange) -> Exchange {
    let mut exchange = exchange.clone();
    exchange.interim.clear();
    if let Some(request) = &mut exchange.request {
        request.method = beginning(&request.method).into();
        request.target = beginning(&request.target).into();
        request.authority = request.authority.as_deref().map(beginning).map(Box::from);
        request.headers = first(&request.headers);
        request.trailers = Fields::default();
        empty(&mut request.body);
    }
    if let Some(response) = &mut exchange.response {
        response.reason = beginning(&response.reason).into();
        response.headers = first(&response.headers);
        response.trailers = Fields::default();
        empty(&mut response.body);
    }
    exchange
}

/// An empty body with a length is written as truncated.
fn empty(body: &mut Body) {
    body.captured = Vec::new();
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(PART)]
}

fn first(fields: &Fields) -> Fields {
    let mut left = PART;
    let mut kept = Fields::default();
    for (name, value) in fields.iter() {
        let (name, value) = (&name[..name.len().min(left)], &value[..value.len().min(left.saturating_sub(name.len()))]);
        kept.push(name, value);
        left -= name.len() + value.len();
        if left == 0 {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn sections_are_cut_where_they_are_too_long() {
        let short = fixture::fields(&[("a", "b"), ("c", "d")]);
        assert_eq!(first(&short), short);
        let long = "x".repeat(PART);
        let cut = first(&fixture::fields(&[("a", &long), ("b", "c")]));
        assert_eq!(cut.iter().map(|(name, value)| (name.len(), value.len())).collect::<Vec<_>>(), [(1, PART - 1)]);
        let cut = first(&fixture::fields(&[(&long, "a"), ("b", "c")]));
        assert_eq!(cut.iter().map(|(name, value)| (name.len(), value.len())).collect::<Vec<_>>(), [(PART, 0)]);
    }
}
