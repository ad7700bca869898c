//! Copied curl commands, pasted into interactive shells: curl gets the bytes that were sent, and nothing else runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use pidtap::{model::exchange::Exchange, text::redact::Redactor, view::curl};
use tempfile::TempDir;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    cli::{PAIR, recording},
    terminal::Terminal,
};

use crate::curl::exchanges;

/// Writes down what it gets: its arguments, each with a NUL, then its input.
const FAKE: &str = "#!/bin/sh
{ for argument; do printf '%s\\0' \"$argument\"; done; [ -t 0 ] || cat; } >got.new
mv got.new got
";

/// A shell in a terminal, with a curl that only writes down.
struct Shell {
    folder: TempDir,
    terminal: Terminal,
    asked: u32,
}

impl Shell {
    fn start(words: &[&str], locale: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("curl");
        // By another process: what this one has open for writing cannot be executed while a child of another test has it.
        let made =
            Command::new("sh").args(["-c", "printf %s \"$2\" >\"$1\"", "sh"]).arg(&program).arg(FAKE).status()?;
        ensure!(made.success(), "there is no fake curl");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH")?;
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(folder.path());
        command.env("PATH", format!("{}:{path}", folder.path().display())).env("HOME", folder.path());
        command.env("LC_ALL", locale).env("TERM", "xterm").env_remove("HISTFILE").env_remove("ENV");
        let mut shell = Self { terminal: Terminal::start((80, 24), &command)?, folder, asked: 0 };
        shell.answers()?;
        Ok(shell)
    }

    /// It has done all that it was told.
    fn answers(&mut self) -> anyhow::Result<()> {
        self.asked += 1;
        // Not as it is typed. What an open quote of the shell's would swallow is never answered.
        self.terminal.press(&format!("echo earlier; echo an''swer''{}\r", self.asked))?;
        self.terminal.wait_for(&format!("answer{}", self.asked))?;
        Ok(())
    }

    /// What curl got.
    fn paste(&mut self, text: &str, bracketed: bool) -> anyhow::Result<Vec<u8>> {
        let got = self.folder.path().join("got");
        // Terminals send what a key for a line end sends.
        let text = text.replace('\n', "\r");
        if bracketed {
            self.terminal.press(&format!("\x1b[200~{text}\x1b[201~\r"))?;
        } else {
            self.terminal.press(&text)?;
        }
        let bytes = wait_for("the fake curl", PATIENCE, || fs::read(&got).ok());
        let bytes = bytes.with_context(|| self.terminal.text())?;
        fs::remove_file(&got)?;
        self.answers()?;
        for trap in ["canary", "got"] {
            ensure!(!self.folder.path().join(trap).exists(), "{text} made {trap}: {}", self.terminal.text());
        }
        Ok(bytes)
    }
}

/// What a shell, a history, a line editor, or the terminal could take for something else.
const TRAPS: [&str; 30] = [
    "!!",
    "!e",
    "wow! !-1 !?echo? !$ !#",
    "a!\"b\"!c",
    "'!!'",
    "\"!!\"",
    "\\!!\\!",
    "\\' ; touch canary ; '",
    "\\'; touch canary #",
    "'; touch canary; '",
    "\"; touch canary; \"",
    "$(touch canary)`touch canary`",
    "$'\\x27; touch canary'",
    "^earlier^touch canary^",
    "~ ~root =ls * ? [a-z] {a,b}",
    "# ; & | < > ( ) && touch canary",
    "%s %n %% \\n \\0",
    "a\tb\t\t",
    "\t\t",
    "a\x15touch canary\x0dx",
    "\x03touch canary\x04",
    "\x1b[201~; touch canary",
    "\x1b[200~",
    "\x16\x03\x1a\x1c\x7f\x08",
    "a\u{85}b\u{2028}c\u{2029}d\u{202e}e\u{feff}",
    // With readline's `convert-meta`: to the start, deleting words, another mode, a comment that is sent.
    "\u{2026}\u{2026}\u{2026}\u{4d50}\u{4d50}'; touch canary; '",
    "\u{a3}; touch canary\u{4a}\u{cd}\u{c5}\u{4d}",
    "J\u{fc}rgen \u{65e5}\u{672c}",
    "trailing \\",
    "",
];

/// One request with all of them, and long ones, in its fields.
fn fields() -> anyhow::Result<(Exchange, Vec<Vec<u8>>)> {
    let mut exchange = exchanges(&recording([PAIR])?)?.remove(0);
    let request = exchange.request.as_mut().context("a request")?;
    request.target = "/a!b?c=!!&d=^e^f".into();
    let mut expected = vec![];
    let long = ["'".repeat(3_000), "!".repeat(3_000), format!("{}'; touch canary; '", "x".repeat(5_000))];
    for (number, trap) in TRAPS.into_iter().map(str::to_owned).chain(long).enumerate() {
        let name = format!("X-Trap-{number}");
        request.headers.push(name.as_bytes(), trap.as_bytes());
        expected.push(if trap.is_empty() { format!("{name};") } else { format!("{name}: {trap}") }.into_bytes());
    }
    for value in [&b"\xe4\xe2\x80\x9b201~\xff"[..], b"\x8d\x8a\x85\xa3 touch canary"] {
        request.headers.push(b"X-Raw", value);
        expected.push([b"X-Raw: ", value].concat());
    }
    Ok((exchange, expected))
}

fn with_body(body: &[u8]) -> anyhow::Result<Exchange> {
    let mut exchange = exchanges(&recording([PAIR])?)?.remove(0);
    let request = exchange.request.as_mut().context("a request")?;
    request.method = "POST".into();
    request.body.captured = body.to_vec();
    request.body.bytes = body.len() as u64;
    Ok(exchange)
}

fn pasted(exchange: &Exchange) -> anyhow::Result<String> {
    curl::command(exchange, Redactor::new(true)).context("it has a request")
}

/// What a shell takes as POSIX has it; whatever it does not take may run nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Takes {
    /// Words in quotes that stand on one line.
    Words,
    /// Words that go on in the next line.
    LongWords,
    /// What `printf` makes, too.
    Everything,
}

fn check(words: &[&str], locale: &str, bracketed: bool, takes: Takes) -> anyhow::Result<()> {
    let mut shell = Shell::start(words, locale)?;
    if takes == Takes::Everything {
        let (exchange, expected) = fields()?;
        let got = shell.paste(&pasted(&exchange)?, bracketed)?;
        let arguments: Vec<&[u8]> = got.split(|byte| *byte == 0).collect();
        for field in expected {
            let wanted = String::from_utf8_lossy(&field).into_owned();
            ensure!(arguments.contains(&&field[..]), "{words:?}, {locale}: {wanted:?} in\n{}", got.escape_ascii());
        }
        ensure!(got.starts_with(b"http://") && got.windows(17).any(|part| part == b"/a!b?c=!!&d=^e^f\0"));
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    let lines = TRAPS.join("\n").replace('\r', "");
    let long = format!("{}\n", "^earlier^x^ !e \\' ; touch canary ; '\n'; touch canary; '\n".repeat(60));
    for body in [&every_byte, lines.as_bytes(), long.as_bytes(), b"{\"wow\": \"a!b !! 'c' \\\"d\\\"\"}", b"^earlier^x^"]
    {
        let got = shell.paste(&pasted(&with_body(body)?)?, bracketed)?;
        if takes == Takes::Words && body.len() > 200 {
            continue;
        }
        // Behind the last argument, or it is that.
        let got = got.strip_suffix(b"\0").unwrap_or(&got);
        ensure!(got.ends_with(body), "{words:?}, {locale}: {:?} is\n{}", body.escape_ascii(), got.escape_ascii());
    }
    Ok(())
}

fn is_there(words: &[&str]) -> bool {
    let there = |name: &&str| Path::new(name).exists();
    let paths = [format!("/bin/{}", words[0]), format!("/usr/bin/{}", words[0])];
    paths.iter().map(String::as_str).any(|path| there(&path))
        && (words[0] != "busybox"
            || Command::new("busybox")
                .args(["ash", "-c", "true"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()))
}

#[test]
fn bash_hands_the_bytes_to_curl() -> anyhow::Result<()> {
    for locale in ["C.UTF-8", "C"] {
        for bracketed in [false, true] {
            check(&["bash", "--noprofile", "--norc", "-i", "-H"], locale, bracketed, Takes::Everything)?;
        }
    }
    // Without a line editor.
    check(&["bash", "--noprofile", "--norc", "--noediting", "-i", "-H"], "C", false, Takes::Everything)
}

#[test]
fn sh_hands_the_bytes_to_curl() -> anyhow::Result<()> {
    check(&["sh", "-i"], "C", false, Takes::Everything)
}

/// Those that this machine has.
#[test]
fn other_shells_run_nothing_else() -> anyhow::Result<()> {
    let others: [(&[&str], bool, Takes); 7] = [
        (&["dash", "-i"], false, Takes::Everything),
        (&["busybox", "ash", "-i"], false, Takes::Everything),
        (&["ksh", "-i"], false, Takes::Everything),
        (&["zsh", "-f", "-i"], false, Takes::Everything),
        (&["zsh", "-f", "-i"], true, Takes::Everything),
        (&["fish", "--no-config", "-i"], false, Takes::LongWords),
        (&["tcsh", "-f", "-i"], false, Takes::Words),
    ];
    for (words, bracketed, takes) in others.into_iter().filter(|(words, ..)| is_there(words)) {
        check(words, "C.UTF-8", bracketed, takes)?;
        eprintln!("{words:?}: as it was");
    }
    Ok(())
}
