use clap::{CommandFactory as _, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_bare_pid_or_name_means_attach() {
    let cli = parse("pidtap 123 nginx -o json --no-follow --duration 90s").expect("valid");
    assert!(cli.command.is_none());
    assert_eq!(cli.attach.targets, ["123", "nginx"]);
    assert_eq!(cli.attach.output.output, [Format::Json]);
    assert!(!cli.attach.trace.follows());
    assert_eq!(cli.attach.trace.duration, Some(Duration::from_secs(90)));
    let cli = parse("pidtap -f nginx").expect("valid");
    assert!(cli.attach.trace.follows());
    assert_eq!(cli.attach.output.body_limit, 65_536);
    assert!(parse("pidtap attach run").is_ok());
}

#[test]
fn run_takes_the_rest_as_it_is() {
    let Some(Command::Run(run)) = parse("pidtap run -o json -- curl -o x --duration 3").expect("valid").command else {
        panic!("run");
    };
    assert_eq!(run.command, ["curl", "-o", "x", "--duration", "3"]);
    assert_eq!(run.output.output, [Format::Json]);
    let Some(Command::Run(run)) = parse("pidtap run curl -o x").expect("valid").command else { panic!("run") };
    assert_eq!(run.command, ["curl", "-o", "x"]);
}

#[test]
fn commands() {
    assert!(matches!(parse("pidtap open f.tap").expect("valid").command, Some(Command::Open(_))));
    assert!(matches!(parse("pidtap demo --duration 3s").expect("valid").command, Some(Command::Demo(_))));
    assert!(matches!(parse("pidtap doctor").expect("valid").command, Some(Command::Doctor(Doctor { target: None }))));
    let line = format!("pidtap {} /proc/1/fd/3 7 -- curl -o x", launch::HOLD_SUBCOMMAND);
    let Some(Command::Hold(hold)) = parse(&line).expect("valid").command else { panic!("hold") };
    assert_eq!(hold.command, ["curl", "-o", "x"]);
    let line = format!("pidtap {} payments 127.0.0.1:1 127.0.0.1:2", demo::HIDDEN_COMMAND);
    assert!(matches!(parse(&line).expect("valid").command, Some(Command::DemoRole(_))));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "pidtap -o xml 1",
        "pidtap --duration never 1",
        "pidtap --body-limit lots 1",
        "pidtap --ring-size 5 1",
        "pidtap --no-such-option 1",
        "pidtap open",
        "pidtap run",
        "pidtap run --",
        "pidtap attach",
        "pidtap -o json",
        "pidtap open f.tap --record g.tap",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    assert_eq!(parse("pidtap --version").expect_err("version").kind(), ErrorKind::DisplayVersion);
    assert_eq!(parse("pidtap").expect_err("help").exit_code(), 2);
}
