//! The body of a command.

use std::borrow::Cow;

use super::{MAX_ARGUMENT, shell};
use crate::{
    model::exchange::Request,
    payload::{body::Content, coding::DECODED_LIMIT},
    text::redact::Redactor,
};

/// Content type that curl sends by default.
pub(super) const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// The body that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    /// None.
    Absent,
    /// Text that stands in the command.
    Words(Cow<'a, [u8]>),
    /// Bytes that `printf` makes.
    Piped(Cow<'a, [u8]>),
    /// Decoded bytes: a secret in an encoded body could not be hidden otherwise.
    Decoded(Vec<u8>),
}

impl<'a> Sent<'a> {
    pub(super) fn of(request: &'a Request, redactor: Redactor) -> Self {
        let body = &request.body;
        let framed =
            request.headers.get("content-length").is_some() || request.headers.get("transfer-encoding").is_some();
        if body.captured.is_empty() && body.bytes == 0 && !framed {
            return Self::Absent;
        }
        let content = Content::of(&request.headers, body, redactor, DECODED_LIMIT);
        if content.masked && !content.undone.is_empty() {
            return Self::Decoded(content.bytes.into_owned());
        }
        let bytes = if content.masked { content.bytes } else { Cow::Borrowed(&body.captured[..]) };
        if shell::is_plain(&bytes) && bytes.len() <= MAX_ARGUMENT { Self::Words(bytes) } else { Self::Piped(bytes) }
    }

    pub(super) fn is_absent(&self) -> bool {
        *self == Self::Absent
    }

    pub(super) fn is_decoded(&self) -> bool {
        matches!(self, Self::Decoded(_))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Words(bytes) | Self::Piped(bytes) => bytes.len(),
            Self::Decoded(bytes) => bytes.len(),
        }
    }

    pub(super) fn piped(&self) -> Option<&[u8]> {
        match self {
            Self::Absent | Self::Words(_) => None,
            Self::Piped(bytes) => Some(bytes),
            Self::Decoded(bytes) => Some(bytes),
        }
    }
}

/// True where the body holds a secret.
pub(super) fn has_secrets(request: &Request) -> bool {
    !request.body.captured.is_empty()
        && Content::of(&request.headers, &request.body, Redactor::new(false), DECODED_LIMIT).masked
}
