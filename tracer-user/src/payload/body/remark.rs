//! What there is to know about a body that its lines do not say.

use std::fmt;

use super::Content;
use crate::{
    model::exchange::Body,
    payload::coding::End,
    text::{escape::Visible, units},
};

/// Something to know about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Codings were undone.
    Undone {
        /// Their names.
        codings: String,
        /// Size before.
        wire: u64,
        /// Size of what is shown.
        shown: u64,
    },
    /// Codings that pidtap does not know are still on.
    Left(String),
    /// What the decoders give was cut at so many bytes.
    Bound(usize),
    /// A decoder found the end of the bytes before the end of the content.
    Short,
    /// A decoder found what its coding does not allow.
    Damaged,
    /// More than is kept of a body went over the wire.
    Limit {
        /// Bytes kept.
        kept: u64,
        /// Bytes on the wire.
        of: u64,
    },
    /// Bytes could not be captured.
    Gap {
        /// How many.
        missing: u64,
        /// Bytes kept, from the first on.
        kept: u64,
        /// Bytes on the wire.
        of: u64,
    },
    /// Secrets were replaced.
    Masked,
    /// There are more lines than these.
    Lines(usize),
}

impl Remark {
    /// Something is not there that was on the wire.
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
        // That the body was cut has been said.
        End::Short if kept < body.bytes => {}
        End::Short => remarks.push(Remark::Short),
        End::Damaged => remarks.push(Remark::Damaged),
    }
    if content.masked {
        remarks.push(Remark::Masked);
    }
    remarks
}
