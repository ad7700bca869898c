//! Words of a name: `X-AccessToken2`, `access_token` and `user[accessToken]` all end in "access", "token".

/// Bytes at the end of a name that are judged.
pub(super) const MAX_LENGTH: usize = 128;
/// Maximum number of words kept, the last ones.
const MAX_WORDS: usize = 12;
/// Maximum layers of percent-encoding that are removed.
const LAYERS: usize = 3;

/// The words of a name, in lower case, without numbers.
pub(super) struct Words {
    buffer: [u8; MAX_LENGTH],
    length: usize,
    /// Start and end of each word.
    places: [(u8, u8); MAX_WORDS],
    count: usize,
    /// The name has blanks between its words: a title, perhaps.
    pub(super) spaced: bool,
}

impl Words {
    pub(super) fn of(name: &[u8]) -> Self {
        let mut raw = [0; MAX_LENGTH];
        let name = &name[name.len().saturating_sub(MAX_LENGTH)..];
        raw[..name.len()].copy_from_slice(name);
        let mut length = name.len();
        for _ in 0..LAYERS {
            let before = length;
            length = undo(&mut raw[..length]);
            if length == before {
                break;
            }
        }
        let raw = &raw[..length];
        let mut words =
            Self { buffer: [0; MAX_LENGTH], length: 0, places: [(0, 0); MAX_WORDS], count: 0, spaced: false };
        let mut start = 0;
        while start < raw.len() {
            if !is_letter(raw[start]) {
                words.spaced |= raw[start] == b' ' && words.count > 0;
                start += 1;
                continue;
            }
            let end = start + end_of_word(&raw[start..]);
            words.push(&raw[start..end]);
            start = end;
        }
        words
    }

    fn push(&mut self, word: &[u8]) {
        // The version of a name and the `X` of a header have no meaning.
        if word.eq_ignore_ascii_case(b"v") && self.count > 0 || word.eq_ignore_ascii_case(b"x") && self.count == 0 {
            return;
        }
        let start = self.length;
        for byte in word {
            self.buffer[self.length] = byte.to_ascii_lowercase();
            self.length += 1;
        }
        if self.count == MAX_WORDS {
            self.places.rotate_left(1);
            self.count -= 1;
        }
        // Both are at most MAX_LENGTH, which fits.
        self.places[self.count] = (start as u8, self.length as u8);
        self.count += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Word at an index from the first; empty if there is none.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let (start, end) = if index < self.count { self.places[index] } else { (0, 0) };
        &self.buffer[usize::from(start)..usize::from(end)]
    }

    /// Word before an index; empty if there is none.
    pub(super) fn before(&self, index: usize) -> &[u8] {
        index.checked_sub(1).map_or(&[], |before| self.get(before))
    }

    /// All words without separators.
    pub(super) fn joined(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Capitals without sense, as in `pAsSwOrD`, make words of a letter or two.
    pub(super) fn are_torn(&self) -> bool {
        (0..self.count).filter(|index| self.get(*index).len() <= 2).count() >= 2
    }
}

/// Undoes percent-encoding and `\u0041` in place, and returns the new length. Own code: every name with a value is judged, and
/// crates that decode allocate.
fn undo(text: &mut [u8]) -> usize {
    let (mut read, mut write) = (0, 0);
    while read < text.len() {
        let (byte, taken) = match &text[read..] {
            [b'%', high, low, ..] if hex(&[*high, *low]).is_some() => (hex(&[*high, *low]), 3),
            [b'\\', b'u' | b'U', a, b, c, d, ..] => (hex(&[*a, *b, *c, *d]), 6),
            [b'\\', b'x', high, low, ..] => (hex(&[*high, *low]), 4),
            [byte, ..] => (Some(u32::from(*byte)), 1),
            [] => break,
        };
        // A character beyond ASCII counts as a letter.
        let (byte, taken) = match byte {
            Some(byte) => (u8::try_from(byte).unwrap_or(0xff), taken),
            None => (text[read], 1),
        };
        text[write] = byte;
        write += 1;
        read += taken;
    }
    write
}

/// Value of hex digits.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

/// `text` begins with a letter. `JWTToken` is `JWT`, `Token`.
fn end_of_word(text: &[u8]) -> usize {
    let upper = |at: usize| text.get(at).is_some_and(u8::is_ascii_uppercase);
    let lower = |at: usize| text.get(at).is_some_and(|byte| is_letter(*byte) && !byte.is_ascii_uppercase());
    let mut at = 1;
    while text.get(at).is_some_and(|byte| is_letter(*byte)) {
        if upper(at) && (lower(at - 1) || lower(at + 1)) {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> String {
        let words = Words::of(name.as_bytes());
        let all: Vec<_> = (0..words.len()).map(|index| String::from_utf8_lossy(words.get(index))).collect();
        all.join(" ")
    }

    #[test]
    fn names_in_words() {
        for (name, expected) in [
            ("access_token", "access token"),
            ("X-AccessToken2", "access token"),
            ("AWSAccessKeyId", "aws access key id"),
            ("access_token_v2", "access token"),
            ("user[0][passWord]", "user pass word"),
            ("%74oken", "token"),
            ("%2574oken", "token"),
            (r"\u0070assword", "password"),
            ("", ""),
            ("123", ""),
            ("passwört", "passwört"),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
        let long = format!("{}_token", "a_".repeat(200));
        assert!(words(&long).ends_with("a token"));
        assert!(Words::of(b"pAsSwOrD").are_torn() && !Words::of(b"nextPageToken").are_torn());
    }
}
