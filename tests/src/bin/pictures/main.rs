//! Takes pictures of the screens: `pictures RECORDINGS FOLDER`, with the program in `PIDTAP_BIN`. The screens show recordings, so that
//! every run makes the same pictures.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use pidtap::event::wire::TickEvent;
use rustix::pipe::fcntl_setpipe_size;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    cli::program,
    picture::svg,
    terminal::Terminal,
};

/// Size of the terminal, legible on a page.
const SIZE: (u16, u16) = (120, 32);
/// Bytes before each event of a recording.
const CHECKSUM: usize = 4;

/// A picture.
struct Picture {
    name: &'static str,
    /// Text alternative.
    title: &'static str,
    recording: &'static Recording,
    /// Keys to press, in order.
    keys: &'static [&'static str],
}

/// A recording without an end, with its duration before its last event and with it.
struct Recording {
    name: &'static str,
    almost: &'static str,
    length: &'static str,
}

const LIVE: &Recording = &Recording { name: "screen_live", almost: "for 41.8s", length: "for 42.0s" };
const BUSY: &Recording = &Recording { name: "screen_busy", almost: "for 59.8s", length: "for 60.0s" };

const PICTURES: &[Picture] = &[
    Picture {
        name: "overview",
        title: "The overview: calls that hang, a retry chain with its count-down, and calls as they happen",
        recording: LIVE,
        keys: &[],
    },
    Picture {
        name: "incident",
        title: "A retry chain: its attempts to scale, the backoff, when the next attempt is due, and what to do",
        recording: LIVE,
        keys: &["i", "j", "j", "\r"],
    },
    Picture {
        name: "exchange",
        title: "One exchange: where its time went, its incident, the call that caused it, request and response",
        recording: LIVE,
        keys: &["/", "status=503", "\r", "\r"],
    },
    Picture {
        name: "endpoints",
        title: "The endpoints of a shop: rate, failures and latency of each",
        recording: BUSY,
        keys: &["2"],
    },
    Picture {
        name: "connections",
        title: "The connections of a shop: peer, state, age, and what they carried",
        recording: BUSY,
        keys: &["3"],
    },
];

fn main() -> anyhow::Result<()> {
    let folders: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [recordings, to] = folders.as_slice() else { anyhow::bail!("usage: pictures RECORDINGS FOLDER") };
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for picture in PICTURES {
        let (terminal, _pipe) = shown(picture, recordings)?;
        let path = to.join(picture.name).with_extension("svg");
        fs::write(&path, terminal.look(|screen| svg(screen, picture.title)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{}", path.display());
    }
    Ok(())
}

/// The screens of an unfinished recording: the pipe stays open, and so do the calls in flight. The last event comes after a frame
/// with all others, as screens query open calls once a frame.
fn shown(picture: &Picture, recordings: &Path) -> anyhow::Result<(Terminal, fs::File)> {
    let Recording { name, almost, length } = picture.recording;
    let recording = fs::read(recordings.join(name).with_extension("tap"))?;
    let (most, last) = recording.split_at(recording.len() - size_of::<TickEvent>() - CHECKSUM);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("trace.tap");
    ensure!(Command::new("mkfifo").arg(&path).status()?.success(), "cannot make a pipe");
    // Opened for reading, too: otherwise the open waits for a reader.
    let mut pipe = fs::File::options().read(true).write(true).open(&path)?;
    fcntl_setpipe_size(&pipe, recording.len())?;
    let mut command = Command::new(program()?);
    command.args(["open", "trace.tap", "-o", "tui"]).current_dir(&folder);
    let terminal = Terminal::start(SIZE, &command)?;
    pipe.write_all(most)?;
    terminal.wait_for(almost)?;
    settled(&terminal)?;
    pipe.write_all(last)?;
    terminal.wait_for(length)?;
    for keys in picture.keys {
        terminal.press(keys)?;
        settled(&terminal)?;
    }
    settled(&terminal)?;
    Ok((terminal, pipe))
}

/// Waits for two frames: the second one began after every earlier event.
fn settled(terminal: &Terminal) -> anyhow::Result<()> {
    let before = terminal.frames().len();
    wait_for("two frames", PATIENCE, || (terminal.frames().len() >= before + 2).then_some(()))
}
