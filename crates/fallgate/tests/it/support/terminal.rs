//! A terminal of a test's own, on which a command asks and is answered.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_for;

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

/// Runs a command on a pseudo-terminal: what comes on stdin is typed, what is shown goes to stdout. When nobody types
/// any more, the command is killed.
const OPEN: &str = r"
import os, pty, select, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    ready = select.select([terminal, 0], [], [])[0]
    if 0 in ready:
        typed = os.read(0, 4096)
        if not typed:
            os.kill(pid, signal.SIGKILL)
            break
        os.write(terminal, typed)
    if terminal in ready:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        os.write(1, read)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
";

/// A terminal that stays open. The command on it ends with it.
pub(crate) struct Terminal {
    python: Child,
    typing: Option<ChildStdin>,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn open(command: &Command) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", OPEN]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => python.env(name, value),
                None => python.env_remove(name),
            };
        }
        let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (typing, mut stdout) = (python.stdin.take(), python.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let shared = shown.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8 * 1024];
            while let Ok(count) = stdout.read(&mut buffer)
                && count > 0
            {
                let read = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
                shared.lock().unwrap().push_str(&read);
            }
        });
        Self { python, typing, shown }
    }

    /// All that it has shown so far.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until this is shown, and gives the rest of its line.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        wait_for(text, || {
            let shown = self.shown();
            let ended = self.python.try_wait().unwrap();
            let rest = shown.split_once(text).and_then(|(_, rest)| rest.split_once('\n'));
            assert!(rest.is_some() || ended.is_none(), "it ended: {shown}");
            rest.map(|(line, _)| line.to_owned())
        })
    }

    /// Waits for a question.
    #[track_caller]
    pub(crate) fn asks(&self, prompt: &str) {
        wait_for(prompt, || self.shown().ends_with(prompt).then_some(()));
    }

    /// Types it as it is: a line ends with `\n`, and `\u{3}` is Ctrl+C.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.typing.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the command has ended by itself, and gives its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        wait_for("the command's end", || self.python.try_wait().unwrap()).code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.typing = None;
        let _ = self.python.wait();
    }
}
