//! The object of a body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ObjectWriter, escape, number, raw};
use crate::{
    body::Content,
    content::End,
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
        let content = Content::of(headers, body, self.redactor, self.decoded_limit);
        if let Some(text) = content.text() {
            raw(out, r#","text":"#);
            escape::string(out, text);
        } else {
            raw(out, r#","base64":""#);
            base64(out, &content.bytes);
            out.push(b'"');
        }
        if !content.undone.is_empty() {
            raw(out, r#","decoded":"#);
            let names: Vec<_> = content.undone.iter().map(|coding| coding.name()).collect();
            escape::string(out, &names.join(", "));
        }
        if let Some(undecoded) = &content.left {
            raw(out, r#","undecoded":"#);
            escape::string(out, undecoded);
        }
        if content.truncated {
            raw(out, r#","truncated":true"#);
        }
        if content.end == End::Damaged {
            raw(out, r#","damaged":true"#);
        }
        if content.masked {
            raw(out, r#","masked":true"#);
        }
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what it needs.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}
