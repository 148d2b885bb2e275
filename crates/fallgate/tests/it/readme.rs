//! What the pages tell a reader to type works, as it stands there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::tls::Authority;
use crate::support::{Gate, Home, WebSocketUpstream, nobodys_address};

/// Stands before the block that this file runs.
const MARK: &str = "<!-- run by tests/it/readme.rs -->";

/// Runs a command on a terminal of its own, answers each prompt in turn, and prints what the terminal showed. Ends
/// with the command's exit code; whatever the command left running is killed.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys, termios, time
answers = [(b"Passphrase for ", b"otter slate canyon vivid 41\n"), (b"again: ", b"otter slate canyon vivid 41\n")]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown, end = b"", time.monotonic() + 60
try:
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        # Typed once the terminal has stopped showing it.
        if answers and answers[0][0] in shown and not termios.tcgetattr(terminal)[3] & termios.ECHO:
            os.write(terminal, answers.pop(0)[1])
    else:
        print("it did not end within a minute")
finally:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// What is asked for after the README's own lines.
const AFTERWARDS: &str = r#"
echo "--- revoked:"
ID=$(fallgate token list | awk '/laptop/ { print $1 }')
fallgate token revoke "$ID"
curl -s -o /dev/null -w 'then %{http_code}\n' -H "Authorization: Bearer $TOKEN" http://127.0.0.1:7400/files/
"#;

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The reader's pages, by name.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let names = docs.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap()));
    names.chain(["README.md".to_owned()]).map(|name| (name.clone(), page(&name))).collect()
}

/// A config in which each text of that key names this file.
fn name_file(config: &str, key: &str, file: &Path) -> String {
    let opening = format!("{key}\"");
    let mut parts = config.split(&opening);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |named, part| {
        let (_, after) = part.split_once('"').unwrap();
        format!("{named}{key}\"{}\"{after}", file.display())
    })
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|rest| format!("{}\n", rest.split("\n```").next().unwrap())).collect()
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).replace('\r', "") + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_readmes_lines_give_a_newcomer_a_user_a_token_and_a_way_through() {
    let home = Home::new();
    let (gate, service) = (nobodys_address(), nobodys_address());
    let readme = page("README.md");
    let (_, behind) = readme.split_once(MARK).unwrap();
    let block = blocks(behind, "sh").concat();
    assert!(block.lines().filter(|line| line.starts_with("fallgate ")).count() >= 3, "{block}");

    let mut script = String::from("trap 'kill $(jobs -p)' EXIT\nPATH=$OURS:$PATH\n");
    for line in block.lines() {
        script += line;
        script.push('\n');
        // A reader takes longer to type than a server to start.
        let listens = match line {
            line if line.starts_with("python3 ") => Some("http://127.0.0.1:8000/"),
            line if line.starts_with("fallgate serve") => Some("http://127.0.0.1:7400/health"),
            _ => None,
        };
        if let Some(listens) = listens {
            script += &["until curl -s -f -o /dev/null ", listens, "; do sleep 0.05; done\n"].concat();
        }
    }
    script += AFTERWARDS;
    let script = script
        .replace("127.0.0.1:7400", &gate.to_string())
        .replace("127.0.0.1:8000", &service.to_string())
        .replace("http.server 8000", &format!("http.server {}", service.port()));
    let file = home.beside().join("readme.sh");
    fs::write(&file, script).unwrap();
    let folder = home.beside().join("empty");
    fs::create_dir(&folder).unwrap();

    // The same surroundings as a command of ours, and it is found by its name.
    let ours = home.command(&[]);
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, "bash", "-eu", file.to_str().unwrap()]);
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let beside = Path::new(env!("CARGO_BIN_EXE_fallgate")).parent().unwrap();
    command.env_remove("FALLGATE_HOME").env("FALLGATE_LISTEN", gate.to_string()).env("OURS", beside);
    let output = command.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
    let shown = shown(&output);
    assert!(output.status.success(), "{shown}");

    let (before, after) = shown.split_once("--- revoked:\n").unwrap_or_else(|| panic!("{shown}"));
    // The service's answer: what is in the folder.
    assert!(before.contains("<a href=\"fallgate.toml\">fallgate.toml</a>"), "{shown}");
    let row = before.lines().find(|line| line.contains("laptop")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains("alice"), "{shown}");
    assert!(after.contains(" revoked\n") && after.contains("then 401\n"), "{shown}");
    assert!(!shown.contains("otter slate"), "the passphrase was shown: {shown}");
    assert!(home.beside().join(".local/share/fallgate/fallgate.db").exists());
}

#[test]
fn the_api_pages_lines_mint_and_sign_in() {
    let gate = Gate::before("notes", "http://127.0.0.1:9");
    gate.admin("alice");
    gate.user("wiki-svc");
    let page = page("docs/api.md");
    let (_, behind) = page.split_once(MARK).unwrap();
    let address = gate.address().to_string();
    let script = "PATH=$OURS:$PATH\ncurl() { command curl -sS -f -w '\\n%{http_code}\\n' \"$@\"; }\n"
        .to_owned()
        + &blocks(behind, "sh").concat().replace("127.0.0.1:7400", &address);
    let ours = gate.command(&[]);
    let mut command = Command::new("bash");
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let beside = Path::new(env!("CARGO_BIN_EXE_fallgate")).parent().unwrap();
    let output =
        command.args(["-euc", &script]).env("OURS", beside).current_dir(gate.beside()).output().unwrap();
    let shown = shown(&output);
    assert!(output.status.success(), "{shown}");
    let codes: Vec<_> = shown.lines().filter(|line| line.len() == 3).collect();
    assert_eq!(codes, ["200", "201", "200", "200", "200", "204", "200", "200"], "{shown}");
    assert!(shown.contains("\"issued_token_type\""), "{shown}");
    assert!(shown.contains("route:notes") && shown.contains("\"name\":\"curl\""), "{shown}");
}

#[test]
fn the_lines_about_the_first_run_make_the_first_admin() {
    let page = page("docs/pages.md");
    let parts: Vec<_> = page.split(MARK).skip(1).map(|part| blocks(part, "sh").remove(0)).collect();
    let [by_the_api, by_the_environment] = &parts[..] else { panic!("{} blocks", parts.len()) };
    for (lines, prepared) in [(by_the_environment, ""), (by_the_api, "fallgate serve 2> gate.log &\n")] {
        let (home, gate) = (Home::new(), nobodys_address());
        let passphrase = home.beside().join("passphrase");
        fs::write(&passphrase, "otter slate canyon vivid 41\n").unwrap();
        let listens = format!("until curl -s -f -o /dev/null http://{gate}/health; do sleep 0.05; done\n");
        let lines = lines
            .replace("127.0.0.1:7400", &gate.to_string())
            .replace("/run/secrets/fallgate-passphrase", passphrase.to_str().unwrap())
            .replace("fallgate serve\n", &format!("fallgate serve 2> gate.log &\n{listens}"));
        let prepared = if prepared.is_empty() { String::new() } else { prepared.to_owned() + &listens };
        let script =
            format!("trap 'kill $(jobs -p)' EXIT\nPATH=$OURS:$PATH\n{prepared}{lines}\nfallgate user list\n");
        let ours = home.command(&[]);
        let mut command = Command::new("bash");
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let beside = Path::new(env!("CARGO_BIN_EXE_fallgate")).parent().unwrap();
        command.env_remove("FALLGATE_HOME").env("FALLGATE_LISTEN", gate.to_string()).env("OURS", beside);
        let output = command.args(["-euc", &script]).current_dir(home.beside()).output().unwrap();
        let shown = shown(&output);
        assert!(output.status.success(), "{shown}");
        let row = shown.lines().find(|line| line.starts_with("alice")).unwrap_or_else(|| panic!("{shown}"));
        assert!(row.contains("admin"), "{shown}");
    }
}

#[test]
fn the_page_on_concepts_lists_every_action_of_the_trail() {
    let home = Home::new();
    home.user("ada");
    let refused = home.fallgate(&["audit", "list", "--action", "token.mnt"]).refused(2);
    let (_, known) = refused.split_once("there are: ").unwrap();
    let concepts = page("docs/concepts.md");
    let missing: Vec<_> =
        known.trim().split(", ").filter(|action| !concepts.contains(&format!("`{action}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_config_in_the_pages_is_good() {
    let (home, authority) = (Home::new(), Authority::new());
    let pair = authority.issue("box", &["box.example"]);
    // A reader has the files that the pages only name.
    let files = [("cert = ", &pair.cert), ("key = ", &pair.key), ("upstream_ca = ", &authority.file())];
    let mut count = 0;
    for (name, text) in pages() {
        for block in blocks(&text, "toml") {
            let block = files.iter().fold(block, |block, (key, file)| name_file(&block, key, file));
            let file = home.write_config(&block);
            let checked = home.fallgate(&["config", "check", "--config", file.to_str().unwrap()]);
            assert_eq!(checked.code, Some(0), "{name}: {}", checked.stderr);
            count += 1;
        }
    }
    assert!(count >= 2, "{count} configs");
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = page("README.md");
    let missing: Vec<_> = pages()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !readme.contains(&format!("({name})")))
        .collect();
    assert_eq!(missing, ["README.md"]);
}

#[test]
fn every_command_in_the_pages_exists() {
    let home = Home::new();
    let mut count = 0;
    for (name, text) in pages() {
        let lines = blocks(&text, "console").concat();
        let typed = lines.lines().filter_map(|line| line.strip_prefix("$ fallgate "));
        for line in typed.map(|line| line.split('#').next().unwrap()) {
            let mut words: Vec<_> = line.split_whitespace().collect();
            words.push("--help");
            let help = home.fallgate(&words);
            assert_eq!(help.code, Some(0), "{name}: fallgate {line}: {}", help.stderr);
            count += 1;
        }
    }
    assert!(count >= 4, "{count} commands");
}

#[test]
fn every_python_snippet_can_be_parsed() {
    let mut count = 0;
    for (name, text) in pages() {
        for block in blocks(&text, "python") {
            let mut python = Command::new("python3");
            let output =
                python.args(["-c", "import ast, sys; ast.parse(sys.argv[1])", &block]).output().unwrap();
            assert!(output.status.success(), "{name}: {}", shown(&output));
            count += 1;
        }
    }
    assert!(count >= 1, "{count} snippets");
}

#[test]
fn the_quick_starts_websocket_client_talks_through_the_gate() {
    let library = websockets_library();
    let snippet = blocks(&page("docs/quick-start.md"), "python").remove(0);
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("notes", &upstream.url());
    let token = gate.token("ada");
    assert!(snippet.contains("127.0.0.1:7400") && snippet.contains("TOKEN"), "{snippet}");
    let program = format!(
        "TOKEN = \"{}\"\n{}",
        token.secret,
        snippet.replace("127.0.0.1:7400", &gate.address().to_string())
    );
    let output = Command::new("python3").args(["-c", &program]).env("PYTHONPATH", library).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(shown(&output), "hello\n");
}

/// A folder that has Python's `websockets`, got once and kept among the build's files.
fn websockets_library() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-websockets");
    let is_there = || {
        let mut python = Command::new("python3");
        let found =
            python.args(["-c", "import websockets.asyncio.client"]).env("PYTHONPATH", &folder).output();
        found.is_ok_and(|output| output.status.success())
    };
    if !is_there() {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--target",
        ]);
        let got = pip.arg(&folder).arg("websockets>=14").output();
        let said = got.map_or_else(|error| error.to_string(), |output| shown(&output));
        assert!(is_there(), "pip could not get Python's websockets, which this test needs: {said}");
    }
    folder
}
