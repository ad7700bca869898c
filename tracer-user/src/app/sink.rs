//! Where results go, and in which form.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use rustix::termios::tcgetwinsize;

use super::{
    marking::Marking,
    screen::{self, Planned, ScreenOutput},
    writing::{self, Written},
};
use crate::{
    cli::{Format, OutputArgs},
    content::DECODED_LIMIT,
    output::{
        Filtered, Output,
        json::{JsonOptions, JsonOutput},
        line::{LineOptions, LineOutput},
    },
    redact::Redactor,
};

/// Results hold what a service and its users say to each other: nobody else's business.
const OWNER_ONLY: u32 = 0o600;

/// An output, and what is to be known about it.
pub(super) struct Sink {
    pub(super) output: Box<dyn Output + Send>,
    /// Tells when what the output has flushed is written.
    pub(super) written: Option<Written>,
    /// It writes to a terminal, whose width may change.
    pub(super) terminal: bool,
    /// Results go to standard output: nothing else may.
    pub(super) standard_output: bool,
    /// The screens that show what the output takes, where that is what was asked for.
    pub(super) screens: Option<Planned>,
    /// How the output marks secrets.
    pub(super) marking: Marking,
}

/// Opens the output that was asked for.
pub(super) fn open(args: &OutputArgs, marking: Marking) -> anyhow::Result<Sink> {
    let format = args.output.unwrap_or_else(|| default_format(args));
    if format == Format::Tui {
        let screens = screen::plan(args, utc_offset(), marking.key)?;
        let output = Box::new(ScreenOutput::new(Arc::clone(&screens.shared)));
        return Ok(Sink {
            output,
            written: None,
            terminal: false,
            standard_output: true,
            screens: Some(screens),
            marking,
        });
    }
    let (writer, terminal): (Box<dyn Write + Send>, bool) = match &args.output_file {
        Some(path) => {
            let file =
                create(path, args.force).with_context(|| format!("cannot write results to {}", path.display()))?;
            let terminal = file.is_terminal();
            (Box::new(file), terminal)
        }
        // Not `Stdout`, which buffers by lines what is buffered already.
        None => (Box::new(standard_output()?), io::stdout().is_terminal()),
    };
    let (writer, written) = writing::behind(writer)?;
    let output: Box<dyn Output + Send> = match format {
        Format::Json => {
            let decoded_limit = DECODED_LIMIT.max(args.body_limit);
            let options = JsonOptions { show_secrets: args.show_secrets, mark_key: Some(marking.key), decoded_limit };
            narrowed(JsonOutput::new(writer, options), args, marking)
        }
        Format::Line | Format::Tui => {
            let options = LineOptions {
                width: if terminal { width() } else { None },
                colour: terminal && wants_colour(),
                utc_offset_s: utc_offset(),
                show_secrets: args.show_secrets,
                mark_key: Some(marking.key),
            };
            narrowed(LineOutput::new(writer, options), args, marking)
        }
    };
    let standard_output = args.output_file.is_none();
    Ok(Sink { output, written: Some(written), terminal, standard_output, screens: None, marking })
}

/// Screens for a person; lines for whatever else reads.
fn default_format(args: &OutputArgs) -> Format {
    if args.output_file.is_none() && screen::is_possible() { Format::Tui } else { Format::Line }
}

/// Without a filter, the output is asked nothing.
fn narrowed(output: impl Output + Send + 'static, args: &OutputArgs, marking: Marking) -> Box<dyn Output + Send> {
    match args.filter.as_ref().filter(|filter| !filter.is_empty()) {
        Some(filter) => {
            let redactor = Redactor::new(args.show_secrets).with_key(Some(marking.key));
            Box::new(Filtered::new(output, filter.clone(), redactor))
        }
        None => Box::new(output),
    }
}

/// Columns of the terminal that standard output is.
pub(super) fn width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    // Some terminals do not know their size, and say 0.
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Creates a file for its owner alone. One that holds something is not overwritten unless that is wanted; devices and
/// pipes are written to as they are.
pub(super) fn create(path: &Path, force: bool) -> anyhow::Result<File> {
    let existing = path.metadata().ok();
    if let Some(existing) = &existing {
        let kind = existing.file_type();
        if kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
            return Ok(OpenOptions::new().write(true).open(path)?);
        }
        if kind.is_file() && existing.len() > 0 && !force {
            bail!("the file exists and is not empty; remove it, name another, or overwrite it with --force");
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY);
    if existing.is_some() {
        options.truncate(true)
    } else {
        options.create_new(true)
    };
    let file = options.open(path)?;
    if existing.is_some_and(|existing| existing.is_file()) {
        // The mode above is for new files only.
        rustix::fs::fchmod(&file, OWNER_ONLY.into()).map_err(io::Error::from)?;
    }
    Ok(file)
}

/// Whether two paths lead to one file that holds what is written to it.
pub(super) fn is_one_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn standard_output() -> anyhow::Result<File> {
    own_copy(io::stdout()).context("cannot write results to standard output: it is closed")
}

/// A descriptor of our own for what another one names. Programs that are started do not get it (`dup` would hand it on).
pub(super) fn own_copy(descriptor: impl AsFd) -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?))
}

/// See https://no-color.org: set to anything but nothing, it means no.
pub(super) fn no_colour() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A terminal that has colours, of somebody who wants them.
fn wants_colour() -> bool {
    !no_colour() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Seconds that local time is ahead of UTC.
fn utc_offset() -> i32 {
    jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn files_are_private_and_not_overwritten_unasked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.tap");
        create(&path, false).expect("new").write_all(b"good").expect("written");
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let error = create(&path, false).expect_err("it holds something");
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(fs::read(&path).expect("there"), b"good");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        create(&path, true).expect("asked for");
        assert_eq!((fs::read(&path).expect("there").len(), mode()), (0, 0o600));
        create(&path, false).expect("empty files hold nothing");
        let other = folder.path().join("b.tap");
        std::os::unix::fs::symlink(&path, &other).expect("a link");
        assert!(is_one_file(&path, &other) && is_one_file(&path, &path));
        assert!(!is_one_file(&path, &folder.path().join("missing")));
        assert!(!is_one_file(Path::new("/dev/null"), Path::new("/dev/null")));
        create(Path::new("/dev/full"), false).expect("a device");
        create(folder.path(), true).expect_err("a folder");
    }
}
