//! What the README says to type works, line by line, on a cluster for development.

use std::{fs, path::Path, process::Command};

use highwater_e2e::{cli::ended, dev::Dev};

/// The commands in the fenced blocks for the shell, without their comments.
fn commands() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(path).unwrap();
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_shell = language == "sh";
        } else if is_shell {
            // Two spaces begin a comment; the # of a filter has none before it.
            let command = line.split_once("  #").map_or(line, |(command, _)| command);
            commands.extend(Some(command.trim().to_owned()).filter(|c| !c.is_empty()));
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "says what was not tested")]
async fn every_line_of_the_readme_does_what_it_says() {
    let commands = commands();
    assert!(commands.len() > 10, "the blocks were found: {commands:?}");
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !has_curl {
        eprintln!("curl is not installed: its lines are not tested");
    }
    let dev = Dev::start(1).await;
    let mut cli = dev.cli();
    // Where a node's files are under the names that the README has for them.
    let data = Path::new(dev.ready["data_dir"].as_str().unwrap());
    fs::copy(data.join("node-1.toml"), data.join("node.toml")).unwrap();
    cli.folder = data.to_owned();

    let told = |name: &str| dev.ready[name].as_str().unwrap();
    let mut following = Vec::new();
    let mut tested = 0;
    for command in &commands {
        let words: Vec<&str> = command.split_whitespace().take(2).collect();
        let line = match words[..] {
            // They are what runs this test; the variable is set.
            ["make" | "export", _] => continue,
            ["curl", _] if !has_curl => continue,
            ["curl", _] => {
                let curl = command.replacen("curl", "curl -sS -w '\\n%{http_code}'", 1);
                let curl = curl.replace("http://127.0.0.1:8080", &cli.servers);
                let curl = curl.replace("http://127.0.0.1:8082", told("control_plane"));
                assert_ne!(curl, *command, "the line has an address");
                curl
            }
            // What does not end is held against the definition of its arguments only.
            ["highwater", "dev"] => format!("{command} --help"),
            ["highwater", "node"] if !command.contains("--check") => format!("{command} --help"),
            ["highwater", "control-plane"] if command.contains("--config") => {
                format!("{command} --help")
            }
            ["highwater", "sub"] => {
                let line = format!("{command} --count 1");
                following.push((line.clone(), cli.shell(&line).spawn().unwrap()));
                tested += 1;
                continue;
            }
            ["highwater", "bench"] => format!("{command} --duration 0.2 --warmup 0"),
            ["highwater", _] => command.clone(),
            _ => panic!("this test does not know what to do with: {command}"),
        };
        let mut shell = cli.shell(&line);
        shell
            .env("HIGHWATER_ADMIN_KEY", told("operator_key"))
            .env("HIGHWATER_CONTROL_PLANE", told("control_plane"))
            .env("HIGHWATER_TENANT", told("tenant"))
            .env("HIGHWATER_PROJECT", told("project"));
        let ended = ended(shell).await;
        assert_eq!(ended.code, 0, "{line}: {ended:?}");
        if words[0] == "curl" {
            let status = ended.stdout.lines().last().unwrap();
            assert!(status.starts_with('2'), "{line}: {ended:?}");
        }
        tested += 1;
    }
    for (line, child) in following {
        let output = child.wait_with_output();
        let output = highwater_e2e::condition::within_deadline("it ends", output).await;
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        assert!(!output.stdout.is_empty(), "{line}: {output:?}");
    }
    assert!(tested >= 10, "{tested} of {} were tested", commands.len());
}
