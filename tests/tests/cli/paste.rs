//! Copied curl commands, pasted into interactive shells: curl gets the recorded bytes, and no other program runs.

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

/// A curl that logs its arguments, each with a NUL, and its input.
const FAKE: &str = "#!/bin/sh
{ for argument; do printf '%s\\0' \"$argument\"; done; [ -t 0 ] || cat; } >got.new
mv got.new got
";

/// A shell in a terminal, with a curl that only logs.
struct Shell {
    folder: TempDir,
    terminal: Terminal,
    asked: u32,
}

impl Shell {
    fn start(words: &[&str], locale: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("curl");
        // `cp` writes the copy. If this process wrote it, a child that another test forks meanwhile would hold it open for writing, and
        // nobody could execute it (ETXTBSY).
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

    /// Waits until the shell has executed every line.
    fn answers(&mut self) -> anyhow::Result<()> {
        self.asked += 1;
        // The text on the screen is the result and not the typed line. If a quote of the shell is open, no result comes.
        self.terminal.press(&format!("echo earlier; echo an''swer''{}\r", self.asked))?;
        self.terminal.wait_for(&format!("answer{}", self.asked))?;
        Ok(())
    }

    /// The arguments and the input of curl.
    fn paste(&mut self, text: &str, bracketed: bool) -> anyhow::Result<Vec<u8>> {
        let got = self.folder.path().join("got");
        // A terminal pastes a line end as the Return key.
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

/// Texts that a shell, its history, its line editor, or the terminal may interpret.
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
    // With readline's `convert-meta`: move to the start, delete words, change the mode, send a comment.
    "\u{2026}\u{2026}\u{2026}\u{4d50}\u{4d50}'; touch canary; '",
    "\u{a3}; touch canary\u{4a}\u{cd}\u{c5}\u{4d}",
    "J\u{fc}rgen \u{65e5}\u{672c}",
    "trailing \\",
    "",
];

/// A request with all of these texts, and long ones, in its fields.
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

/// The syntax that a shell shares with POSIX. Other syntax must run no program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Takes {
    /// Quoted words on one line.
    Words,
    /// Words with line ends.
    LongWords,
    /// The output of `printf`, too.
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
        // After the last argument, or as the last argument.
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
    // No line editor.
    check(&["bash", "--noprofile", "--norc", "--noediting", "-i", "-H"], "C", false, Takes::Everything)
}

#[test]
fn sh_hands_the_bytes_to_curl() -> anyhow::Result<()> {
    check(&["sh", "-i"], "C", false, Takes::Everything)
}

/// The shells of this machine.
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
