//! A terminal of a test's own, on which a command asks and is answered.

use std::process::{Command, Stdio};

/// Runs a command on a pseudo-terminal, types each answer once its prompt is there (and, if it is to be hidden, once
/// the terminal has stopped showing what is typed), and prints what the terminal showed. Exit code 99: a prompt never
/// came.
const SCRIPT: &str = r#"
import json, os, pty, select, signal, sys, termios, time
answers = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, seen, end = b"", 0, time.monotonic() + 30
try:
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                read = os.read(terminal, 65536)
            except OSError:
                break
            if not read:
                break
            shown += read
        if answers:
            prompt, answer, hidden = answers[0]
            at = shown.find(prompt.encode(), seen)
            if at >= 0 and (not hidden or not termios.tcgetattr(terminal)[3] & termios.ECHO):
                seen = at + len(prompt)
                os.write(terminal, answer.encode() + b"\n")
                answers.pop(0)
finally:
    if time.monotonic() >= end:
        os.kill(pid, signal.SIGKILL)
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(99 if answers else code)
"#;

/// An answer to a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// Shown as it is typed.
    Shown(&'a str, &'a str),
    /// Hidden from whoever looks on.
    Hidden(&'a str, &'a str),
}

/// Runs a command on a terminal; gives its exit code and what the terminal showed.
pub(crate) fn on_terminal(command: &Command, answers: &[Answer<'_>]) -> (Option<i32>, String) {
    let answers: Vec<_> = answers
        .iter()
        .map(|answer| match *answer {
            Answer::Shown(prompt, answer) => (prompt, answer, false),
            Answer::Hidden(prompt, answer) => (prompt, answer, true),
        })
        .collect();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, &serde_json::to_string(&answers).unwrap()]);
    python.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    let output = python.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "", "the terminal itself failed");
    (output.status.code(), String::from_utf8(output.stdout).unwrap().replace('\r', ""))
}
