//! Options are accepted before the command as well as after it: `pidtap -o json demo`.
//!
//! Every command has its own options, and words before a command parse as options and targets of an attach. If the first target is
//! the name of a command, the words are parsed again with the command in front. `pidtap attach NAME` attaches to a process that
//! has such a name.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

impl Cli {
    /// Parses the command line; the first word is the program.
    ///
    /// # Errors
    ///
    /// An error of clap, which can print itself; `--help` is one too.
    pub fn from_words(words: &[OsString]) -> Result<Self, clap::Error> {
        let names: Vec<String> = Self::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .collect();
        let in_front = || -> Option<Self> {
            let place = words.iter().position(|word| names.iter().any(|name| word == name.as_str()))?;
            let mut words = words.to_vec();
            let command = words.remove(place);
            words.insert(1, command);
            Self::try_parse_from(words).ok()
        };
        match Self::try_parse_from(words) {
            Ok(cli)
                if cli.command.is_none() && cli.attach.targets.first().is_some_and(|first| names.contains(first)) =>
            {
                Ok(in_front().unwrap_or(cli))
            }
            // Options of the command of `run` are unknown to an attach.
            Err(error) if error.use_stderr() => in_front().ok_or(error),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Format};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::from_words(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_on_either_side_of_the_command() {
        for line in ["pidtap -o json run -- curl -s u", "pidtap run -o json curl -s u", "pidtap -o json run curl -s u"]
        {
            let Ok(Some(Command::Run(run))) = parse(line).map(|cli| cli.command) else { panic!("{line}") };
            assert_eq!(
                (run.command.as_slice(), run.output.output.as_slice()),
                (&["curl", "-s", "u"].map(OsString::from)[..], &[Format::Json][..])
            );
        }
        let Ok(Some(Command::Open(open))) = parse("pidtap --body-limit 0 open a.tap").map(|cli| cli.command) else {
            panic!("open")
        };
        assert_eq!((open.file.to_str(), open.output.body_limit), (Some("a.tap"), 0));
        let Ok(Some(Command::Demo(demo))) = parse("pidtap --record demo demo").map(|cli| cli.command) else {
            panic!("demo")
        };
        assert_eq!(demo.trace.record.as_deref(), Some("demo".as_ref()));
    }

    #[test]
    fn what_is_no_command_stays_as_it_is() {
        let attach = parse("pidtap -o json nginx open").expect("two names");
        assert!(attach.command.is_none());
        assert_eq!(attach.attach.targets, ["nginx", "open"]);
        assert!(matches!(parse("pidtap attach demo").expect("a name").command, Some(Command::Attach(_))));
        for line in ["pidtap --no-such-option 1", "pidtap --no-such-option demo", "pidtap open a b"] {
            let said = parse(line).expect_err(line).to_string();
            assert!(said.contains("unexpected argument") && said.contains("Usage: pidtap"), "{said}");
        }
        assert_eq!(parse("pidtap --help").expect_err("a text").kind(), clap::error::ErrorKind::DisplayHelp);
    }
}
