//! Remarks on a body, about facts that its lines do not show.

use std::fmt;

use super::Content;
use crate::{
    model::exchange::Body,
    payload::coding::End,
    text::{escape::Visible, units},
};

/// A remark on a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Codings were removed.
    Undone {
        /// Their names.
        codings: String,
        /// Size before.
        wire: u64,
        /// Size of the displayed content.
        shown: u64,
    },
    /// Codings unknown to pidtap remain.
    Left(String),
    /// The output of the decoders was cut at this many bytes.
    Bound(usize),
    /// The input of a decoder ended before the content.
    Short,
    /// The input of a decoder is invalid.
    Damaged,
    /// Only part of the body was kept.
    Limit {
        /// Bytes kept.
        kept: u64,
        /// Bytes on the wire.
        of: u64,
    },
    /// Bytes could not be captured.
    Gap {
        /// Number of missing bytes.
        missing: u64,
        /// Bytes kept before the gap.
        kept: u64,
        /// Bytes on the wire.
        of: u64,
    },
    /// Secrets were masked.
    Masked,
    /// The layout was cut at its maximum number of lines.
    Lines(usize),
}

impl Remark {
    /// Whether part of the body is missing.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::Undone { .. } | Self::Masked)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: u64| units::size(Some(bytes));
        match self {
            Self::Undone { codings, wire, shown } => {
                write!(f, "{codings} decoded: {} on the wire, {} after decoding", size(*wire), size(*shown))
            }
            Self::Left(codings) => {
                write!(f, "not decoded: {} is unknown to pidtap, or the data has another coding", Visible(codings))
            }
            Self::Bound(limit) => write!(
                f,
                "cut: {} were decoded, more exists; decoding stops at 64 KiB plus 20 times the size, or at 1 MiB",
                size(*limit as u64)
            ),
            Self::Short => f.write_str("cut: the encoded data ends too early; the part decoded so far is shown"),
            Self::Damaged => f.write_str("damaged: the encoded data is invalid; the part decoded so far is shown"),
            Self::Limit { kept, of } => {
                write!(f, "cut: only the first {} of {} were kept (--body-limit)", size(*kept), size(*of))
            }
            Self::Gap { missing, kept: 0, of } => {
                write!(f, "gap: the first {} could not be captured; none of the {} is shown", size(*missing), size(*of))
            }
            Self::Gap { missing, kept, of } => write!(
                f,
                "gap: {} of {} could not be captured; the first {} are shown",
                size(*missing),
                size(*of),
                size(*kept)
            ),
            Self::Masked => f.write_str("secrets are masked"),
            Self::Lines(limit) => write!(f, "cut: only the first {limit} lines are shown"),
        }
    }
}

pub(super) fn of(body: &Body, content: &Content<'_>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let kept = body.captured.len() as u64;
    if !content.undone.is_empty() {
        let codings = content.undone.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(", ");
        remarks.push(Remark::Undone { codings, wire: body.bytes, shown: content.bytes.len() as u64 });
    }
    if let Some(left) = &content.left {
        remarks.push(Remark::Left(left.clone()));
    }
    if body.missing > 0 {
        remarks.push(Remark::Gap { missing: body.missing, kept, of: body.bytes });
    } else if kept < body.bytes {
        remarks.push(Remark::Limit { kept, of: body.bytes });
    }
    match content.end {
        End::Whole => {}
        End::Bound => remarks.push(Remark::Bound(content.decoded)),
        // Another remark reports the cut already.
        End::Short if kept < body.bytes => {}
        End::Short => remarks.push(Remark::Short),
        End::Damaged => remarks.push(Remark::Damaged),
    }
    if content.masked {
        remarks.push(Remark::Masked);
    }
    remarks
}
