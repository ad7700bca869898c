//! Results that go to descriptors and devices.

use tracer_tests::cli::{Dir, PAIR, program, recording, text};

#[test]
fn descriptors_and_devices_are_written_to_as_they_are() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = dir.write("a.tap", &recording([PAIR])?)?;
    let program = program()?;
    let open = format!("{} open {} -o json --output-file", text(&program), text(&file));
    let direct = dir.run("sh", &["-c", &format!("{open} /dev/stdout")]).end()?.status(0)?;
    assert!(direct.stdout.ends_with("}\n"), "{direct:?}");
    for script in [
        format!("{open} /dev/fd/3 3>&1"),
        format!("{open} /proc/self/fd/3 3>&1"),
        format!("{open} /dev/stderr 2>&1"),
        format!("{open} >(cat)"),
        format!("mkfifo pipe; cat pipe & {open} pipe; wait"),
        format!("{open} /dev/null; cat /dev/stdin <<< '' > /dev/null; {open} /dev/stdout | cat"),
        // The shell opened the file for appending.
        format!("rm -f out; : > out; {open} /dev/stdout >> out; cat out"),
    ] {
        let said = dir.run("bash", &["-c", &script]).end()?.status(0)?;
        assert_eq!(said.stdout, direct.stdout, "{script}");
    }
    Ok(())
}
