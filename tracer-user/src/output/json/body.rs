//! The object of a body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ObjectWriter, escape, number, raw};
use crate::{
    event::Timestamp,
    model::exchange::{Body, Fields},
    payload::{body::Content, coding::End},
};

/// Factor of growth by escapes from which on a text counts as binary: at least a fifth of it are control characters, of
/// which each becomes six bytes. Quotes and line feeds become two bytes, so a text may consist of them.
const MOST_ESCAPED: usize = 2;
/// Bytes of a text that may consist of control characters only.
const SHORT: usize = 128;

impl ObjectWriter {
    pub(super) fn body(&mut self, out: &mut Vec<u8>, headers: &Fields, body: &Body, now: Timestamp) {
        raw(out, r#"{"bytes":"#);
        number(out, body.bytes);
        raw(out, r#","captured":"#);
        number(out, body.captured.len() as u64);
        if body.captured.is_empty() {
            raw(out, r#","text":"""#);
        } else {
            self.contents(out, headers, body, now);
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

    fn contents(&mut self, out: &mut Vec<u8>, headers: &Fields, body: &Body, now: Timestamp) {
        let budget = (&mut self.decoding, now);
        let content = Content::within(headers, body, self.redactor, self.decoded_limit, budget);
        let start = out.len();
        if let Some(text) = content.text() {
            raw(out, r#","text":"#);
            escape::string(out, text);
            if out.len() - start > text.len() * MOST_ESCAPED + SHORT {
                out.truncate(start);
            }
        }
        if out.len() == start {
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
        if content.end == End::Bound || content.skipped {
            raw(out, r#","cut_by":"#);
            raw(out, if content.skipped { r#""decoding_time""# } else { r#""decoded_size""# });
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
    // The reserved memory is exact.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}
