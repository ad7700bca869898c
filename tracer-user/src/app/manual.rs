//! `pidtap completions SHELL` and `pidtap man`: the command line, described for shells and for `man`.

use std::io::{self, Write as _};

use clap::{Args as _, Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::Exit;
use crate::cli::{Attach, Cli};

/// Prints a script that completes pidtap's words in a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    generate(shell, &mut visible(), "pidtap", &mut text);
    print(&text)
}

/// Prints the manual page, for `man -l` and packages.
pub(super) fn page() -> anyhow::Result<Exit> {
    print(&rendered()?)
}

/// The command line without the commands with which pidtap starts itself: scripts would offer those too.
fn visible() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Attach::augment_args(Command::new("pidtap")).version(env!("CARGO_PKG_VERSION")).subcommands(commands)
}

fn print(text: &[u8]) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// One page for all commands: each has a section with its options.
fn rendered() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    // `help` is clap's own.
    let is_shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let commands: Vec<Command> = command.get_subcommands().filter(is_shown).cloned().collect();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in commands {
        section(command, &mut page)?;
    }
    man.render_extra_section(&mut page)?;
    Ok(page)
}

fn section(command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    writeln!(page, ".SH \"PIDTAP {}\"", command.get_name().to_uppercase())?;
    let man = Man::new(command);
    let mut text = Vec::new();
    man.render_description_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_options_section(&mut text)?;
    // Sections of a command are below its own.
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b".SH ") {
            Some(b"DESCRIPTION\n") => {}
            Some(title) => page.extend_from_slice(&[b".SS ", title].concat()),
            None => page.extend_from_slice(line),
        }
    }
    Ok(())
}
