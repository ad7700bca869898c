//! Planted secrets and innocent values, from the files in `corpus/`. How many of each kind are hidden stands in
//! docs/secrets.md: `PIDTAP_EXPECT_THIS=1` writes it there.

use std::{fmt::Write as _, fs, path::Path};

use super::{HIDE, Redactor};

const PLANTED: &str = "planted.txt";
const INNOCENT: &str = "innocent.txt";
/// What `names` puts under each name. Random enough for no other rule, and no word.
const SECRET: &str = "zq7-Uncommon.Value";
const FEW: &str = "73914";

/// Something with secrets in it, and what they are.
struct Entry {
    how: How,
    text: String,
    secrets: Vec<String>,
}

enum How {
    Header(String),
    Url,
    Authority,
    Body(Option<String>),
}

impl Entry {
    fn new(line: &str) -> Self {
        let (how, rest) = line.split_once(' ').expect("a kind and a text");
        let (how, text) = match how {
            "header" => {
                let (name, value) = rest[1..].split_once(':').expect("a name");
                let name = format!("{}{name}", &rest[..1]);
                (How::Header(name), value.strip_prefix(' ').unwrap_or(value))
            }
            "url" => (How::Url, rest),
            "authority" => (How::Authority, rest),
            "body" => match rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
                Some((kind, text)) if kind.contains('/') => (How::Body(Some(kind.to_owned())), text),
                _ => (How::Body(None), rest),
            },
            other => panic!("`{other}` is no kind of entry"),
        };
        let text = text.replace('⏎', "\n").replace('␍', "\r");
        let secrets = text.split('«').skip(1).map(|part| part.split('»').next().unwrap_or(part).to_owned()).collect();
        Self { how, text: text.replace(['«', '»'], ""), secrets }
    }

    fn masked(&self, redactor: Redactor) -> String {
        self.masked_again(redactor, &self.text)
    }

    fn masked_again(&self, redactor: Redactor, text: &str) -> String {
        let bytes = match &self.how {
            How::Header(name) => redactor.header(name.as_bytes(), text.as_bytes()).into_owned(),
            How::Url => redactor.url(text).into_owned().into_bytes(),
            How::Authority => redactor.authority(text).into_owned().into_bytes(),
            How::Body(kind) => redactor.body(kind.as_deref().map(str::as_bytes), text.as_bytes()).into_owned(),
        };
        String::from_utf8(bytes).expect("UTF-8 stays UTF-8")
    }

    fn is_hidden(&self) -> bool {
        let masked = self.masked(HIDE);
        self.secrets.iter().all(|secret| !masked.contains(secret.as_str()))
    }
}

/// The lines of a file of the corpus, without comments.
fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/text/redact/corpus").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A name in all places where names are.
fn under(name: &str, secret: &str) -> Vec<String> {
    let element: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).collect();
    let mut lines = vec![
        format!("url /p?a=1&{name}=«{secret}»&b=2"),
        format!("body [application/x-www-form-urlencoded] {name}=«{secret}»&b=2"),
        format!("body {{\"a\":1,\"{name}\":\"«{secret}»\"}}"),
        format!("header Cookie: {name}=«{secret}»"),
        format!("body a: 1⏎{name}: «{secret}»⏎b: 2"),
        format!("body a=1 {name}=«{secret}» b=2"),
        format!("body --X⏎Content-Disposition: form-data; name=\"{name}\"⏎⏎«{secret}»⏎--X--"),
    ];
    // Names of elements and fields cannot have all of that.
    if element == name {
        lines.push(format!("body <r><{name}>«{secret}»</{name}></r>"));
        lines.push(format!("header {name}: «{secret}»"));
    }
    lines
}

struct Kind {
    name: String,
    entries: Vec<(String, Entry, Option<String>)>,
}

fn planted() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for line in &lines(PLANTED) {
        if let Some(name) = line.strip_prefix("= ") {
            kinds.push(Kind { name: name.to_owned(), entries: Vec::new() });
            continue;
        }
        let kind = kinds.last_mut().expect("a kind comes first");
        if let Some(names) = line.strip_prefix("names ") {
            let secret = if kind.name == "Few values" { FEW } else { SECRET };
            for line in names.split(' ').flat_map(|name| under(name, secret)) {
                let entry = Entry::new(&line);
                kind.entries.push((line, entry, None));
            }
            continue;
        }
        let (line, why) = match line.strip_prefix("- ") {
            Some(line) => line.split_once(" ## ").map(|(line, why)| (line, Some(why.to_owned()))).expect("a reason"),
            None => (line.as_str(), None),
        };
        kind.entries.push((line.to_owned(), Entry::new(line), why));
    }
    kinds
}

#[test]
fn planted_secrets_are_hidden() {
    let mut wrong = String::new();
    for kind in planted() {
        for (line, entry, shown) in &kind.entries {
            assert!(!entry.secrets.is_empty(), "{line}");
            if entry.is_hidden() != shown.is_none() {
                // A String takes everything.
                let _ = writeln!(wrong, "{}: {line}\n    {}", kind.name, entry.masked(HIDE).escape_debug());
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_is_hidden_is_shown_when_asked_for_and_hidden_once() {
    for kind in planted() {
        for (line, entry, _) in &kind.entries {
            assert_eq!(entry.masked(HIDE.showing(true)), entry.text, "{line}");
            let once = entry.masked(HIDE);
            let twice = entry.masked_again(HIDE, &once);
            assert_eq!(
                twice.replace(|c: char| c.is_ascii_hexdigit(), ""),
                once.replace(|c: char| c.is_ascii_hexdigit(), ""),
                "{line}"
            );
        }
    }
}

#[test]
fn innocent_values_stay() {
    let mut wrong = String::new();
    for line in lines(INNOCENT) {
        let entry = Entry::new(&line);
        let masked = entry.masked(HIDE);
        if masked != entry.text {
            let _ = writeln!(wrong, "{line}\n    {}", masked.escape_debug());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn json_stays_json() {
    for kind in planted() {
        for (line, entry, _) in &kind.entries {
            let is_body = matches!(entry.how, How::Body(_));
            if is_body && serde_json::from_str::<serde_json::Value>(&entry.text).is_ok() {
                let masked = entry.masked(HIDE);
                serde_json::from_str::<serde_json::Value>(&masked)
                    .unwrap_or_else(|error| panic!("{line}: {masked}: {error}"));
            }
        }
    }
}

#[test]
fn the_documented_figures_are_these() {
    let mut table = "| kind | planted | masked |\n| --- | --- | --- |\n".to_owned();
    let (mut all, mut hidden) = (0, 0);
    for kind in planted() {
        let masked = kind.entries.iter().filter(|(_, entry, _)| entry.is_hidden()).count();
        let _ = writeln!(table, "| {} | {} | {masked} |", kind.name, kind.entries.len());
        all += kind.entries.len();
        hidden += masked;
    }
    let _ = writeln!(table, "| all | {all} | {hidden} |");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md");
    let text = fs::read_to_string(&path).expect("docs/secrets.md");
    let start = text.find("| kind | planted |").expect("a table");
    let end = start + text[start..].find("\n\n").expect("something behind it") + 1;
    if std::env::var_os("PIDTAP_EXPECT_THIS").is_some() {
        fs::write(&path, [&text[..start], &table, &text[end..]].concat()).expect("written");
    } else {
        assert_eq!(&text[start..end], table, "PIDTAP_EXPECT_THIS=1 writes the figures");
    }
}
