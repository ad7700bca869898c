//! Past tense of words about a call, once it is over.

/// Verbs in words about incidents.
const PAST: [(&str, &str); 29] = [
    ("does", "did"),
    ("do", "did"),
    ("is", "was"),
    ("are", "were"),
    ("has", "had"),
    ("have", "had"),
    ("hangs", "hung"),
    ("waits", "waited"),
    ("wait", "waited"),
    ("reads", "read"),
    ("sends", "sent"),
    ("takes", "took"),
    ("runs", "ran"),
    ("drops", "dropped"),
    ("sleeps", "slept"),
    ("computes", "computed"),
    ("works", "worked"),
    ("fails", "failed"),
    ("fail", "failed"),
    ("refuses", "refused"),
    ("grow", "grew"),
    ("moves", "moved"),
    ("goes", "went"),
    ("comes", "came"),
    ("can", "could"),
    ("ignores", "ignored"),
    ("failing", "failed"),
    ("waiting", "waited"),
    ("growing", "grew"),
];

/// The words with their verbs in the past tense.
pub fn past(words: &str) -> String {
    let mut out = String::with_capacity(words.len() + 8);
    for word in words.split_inclusive(' ') {
        let end = word.trim_end_matches([' ', ',', ':', ';', '.', ')', '?']).len();
        let (bare, rest) = word.split_at(end);
        let past = PAST.iter().find(|(now, _)| *now == bare).map_or(bare, |(_, past)| *past);
        out.push_str(past);
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_alone_change() {
        assert_eq!(past("the peer's application does not respond"), "the peer's application did not respond");
        assert_eq!(past("this process is stopped?"), "this process was stopped?");
        assert_eq!(past("40 % fail, mostly 503"), "40 % failed, mostly 503");
        assert_eq!(past("island  of doers"), "island  of doers");
    }
}
