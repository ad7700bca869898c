//! The object of a body.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ObjectWriter, escape, number, raw};
use crate::{
    content::{self, End},
    exchange::{Body, Fields},
};

impl ObjectWriter {
    pub(super) fn body(&self, out: &mut Vec<u8>, headers: &Fields, body: &Body) {
        raw(out, r#"{"bytes":"#);
        number(out, body.bytes);
        raw(out, r#","captured":"#);
        number(out, body.captured.len() as u64);
        if body.captured.is_empty() {
            raw(out, r#","text":"""#);
        } else {
            self.contents(out, headers, body);
        }
        if body.missing > 0 {
            raw(out, r#","missing":"#);
            number(out, body.missing);
        }
        if body.captured.is_empty() && body.bytes > 0 {
            raw(out, r#","truncated":true"#);
        }
        out.push(b'}');
    }

    fn contents(&self, out: &mut Vec<u8>, headers: &Fields, body: &Body) {
        let mut shown = Cow::Borrowed(&body.captured[..]);
        let mut truncated = (body.captured.len() as u64) < body.bytes;
        let mut damaged = false;
        let mut decoded = None;
        let mut undecoded = None;
        if headers.get("content-encoding").is_some() {
            let result = content::decode(headers.get_all("content-encoding"), &body.captured, self.decoded_limit);
            truncated |= result.end != End::Whole;
            shown = result.bytes;
            damaged = result.end == End::Damaged;
            if !result.undone.is_empty() {
                decoded = Some(result.undone.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(", "));
            }
            undecoded = result.left;
        }
        let masked = match self.redactor.body(headers.get("content-type"), &shown) {
            Cow::Owned(masked) => {
                shown = Cow::Owned(masked);
                true
            }
            Cow::Borrowed(_) => false,
        };
        if let Some(text) = text(&shown, truncated) {
            raw(out, r#","text":"#);
            escape::string(out, text);
        } else {
            raw(out, r#","base64":""#);
            base64(out, &shown);
            out.push(b'"');
        }
        if let Some(decoded) = decoded {
            raw(out, r#","decoded":"#);
            escape::string(out, &decoded);
        }
        if let Some(undecoded) = undecoded {
            raw(out, r#","undecoded":"#);
            escape::string(out, &undecoded);
        }
        if truncated {
            raw(out, r#","truncated":true"#);
        }
        if damaged {
            raw(out, r#","damaged":true"#);
        }
        if masked {
            raw(out, r#","masked":true"#);
        }
    }
}

/// The bytes as text, where they are UTF-8. A limit may have cut the last character of `truncated` text in two: then
/// the half is left out.
fn text(bytes: &[u8], truncated: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok().filter(|text| !text.is_empty())
        }
        Err(_) => None,
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what it needs.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}
