//! `highwater doctor`: checks this machine and a server, with a way out for everything it finds.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use highwater_proto::client::GetTopicRequest;
use serde::Serialize;
use tonic::Code;

use crate::{
    client::{Server, ServerArgs, block_on},
    output::Output,
};

/// Open files a node wants to be allowed: sockets and the store's files.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Syncs of the disk that are timed.
const SYNCS: usize = 50;

/// Arguments of `highwater doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder whose disk is checked
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
    /// Ports that should be free, for a node that is about to start here
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Check this machine only
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    grade: Grade,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn finding(
    check: impl Into<String>,
    grade: Grade,
    found: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding {
        check: check.into(),
        grade,
        found: found.into(),
        fix: (grade != Grade::Ok).then(|| fix.into()),
    }
}

/// Runs it. Fails when a check failed, not for warnings.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let mut failed = 0;
    let mut say = |finding: Finding| {
        failed += usize::from(finding.grade == Grade::Failed);
        output.result(&finding, || text(&finding))
    };
    say(open_files())?;
    say(disk(&args.data_dir))?;
    for port in &args.ports {
        say(port_is_free(*port))?;
    }
    if !args.local {
        let asked = args.server.resolve()?;
        let findings = block_on(async {
            let mut findings = Vec::new();
            for index in 0..asked.servers.len() {
                findings.extend(server(&asked, index).await?);
            }
            Ok(findings)
        })?;
        findings.into_iter().try_for_each(&mut say)?;
    }
    anyhow::ensure!(failed == 0, "{failed} checks failed");
    Ok(())
}

fn text(finding: &Finding) -> String {
    let mark = match finding.grade {
        Grade::Ok => "ok  ",
        Grade::Warning => "WARN",
        Grade::Failed => "FAIL",
    };
    let mut text = format!("{mark}  {}: {}", finding.check, finding.found);
    if let Some(fix) = &finding.fix {
        text += &format!("\n      fix: {fix}");
    }
    text
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let (grade, found) = match limit {
        Some(limit) if limit < OPEN_FILES_WANTED => (Grade::Warning, limit.to_string()),
        Some(limit) => (Grade::Ok, limit.to_string()),
        None => (Grade::Ok, "unlimited".into()),
    };
    let fix = format!("`ulimit -n {OPEN_FILES_WANTED}`, or LimitNOFILE in the service's unit");
    finding("open files allowed", grade, found, fix)
}

/// How long a sync takes, which every acknowledgement waits for.
fn disk(folder: &Path) -> Finding {
    let check = format!("disk of {}", folder.display());
    match sync_latencies(folder) {
        Err(error) => {
            let fix = "choose a folder that exists and can be written, with --data-dir";
            finding(check, Grade::Failed, error.to_string(), fix)
        }
        Ok(mut took) => {
            took.sort();
            let (median, slow) = (took[SYNCS / 2], took[SYNCS * 95 / 100]);
            let found = format!("a synced write takes {median:.1?}, one in twenty {slow:.1?}");
            let grade = match median {
                _ if median < Duration::from_millis(10) => Grade::Ok,
                _ => Grade::Warning,
            };
            finding(
                check,
                grade,
                found,
                "use a local SSD: every acknowledgement waits for a sync",
            )
        }
    }
}

fn sync_latencies(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&vec![0; SYNCS * 4_096])?;
    file.sync_all()?;
    (0..SYNCS)
        .map(|n| {
            let begun = Instant::now();
            std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4_096], n as u64 * 4_096)?;
            fs::File::sync_data(&file)?;
            Ok(begun.elapsed())
        })
        .collect()
}

fn port_is_free(port: u16) -> Finding {
    let check = format!("port {port}");
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => finding(check, Grade::Ok, "free", ""),
        Err(error) => {
            let fix =
                format!("stop what listens there (`ss -ltnp sport = :{port}`), or use another");
            finding(check, Grade::Failed, error.to_string(), fix)
        }
    }
}

async fn server(args: &Server, index: usize) -> anyhow::Result<Vec<Finding>> {
    let address = args.servers[index].trim_end_matches('/');
    let http = args.http()?;
    let begun = Instant::now();
    let answer = http.get(format!("{address}/readyz?verbose")).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let check = format!("server {address}");
            let fix = "start it (`highwater dev` runs one here), or say where it is with --server";
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let found = format!(
                "not reachable: {}",
                cause.unwrap_or_else(|| error.to_string())
            );
            return Ok(vec![finding(check, Grade::Failed, found, fix)]);
        }
    };
    let took = begun.elapsed();
    let skew = skew(&answer);
    let is_ready = answer.status().is_success();
    let report = answer.text().await?;
    let failing: Vec<&str> = report
        .lines()
        .filter(|line| line.starts_with("[-]"))
        .collect();
    let mut findings = vec![match is_ready {
        true => finding(
            format!("server {address}"),
            Grade::Ok,
            format!("ready, answered in {took:.1?}"),
            "",
        ),
        false => finding(
            format!("server {address}"),
            Grade::Failed,
            format!("not ready: {}", failing.join("; ")),
            "see the node's log; a cluster needs more than half of its nodes",
        ),
    }];
    findings.extend(skew.map(clock));
    findings.push(key(args, index).await?);
    Ok(findings)
}

/// Seconds between the server's clock and this one, by the Date header (RFC 9110, section 6.6.1),
/// which has whole seconds.
fn skew(answer: &reqwest::Response) -> Option<f64> {
    let date = answer.headers().get("date")?.to_str().ok()?;
    let there = httpdate::parse_http_date(date).ok()?;
    let (here, there) = (SystemTime::now(), there);
    let apart = match here.duration_since(there) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    Some(apart)
}

fn clock(skew: f64) -> Finding {
    let grade = match skew.abs() {
        s if s < 2.0 => Grade::Ok,
        _ => Grade::Warning,
    };
    let found = match grade {
        Grade::Ok => "agrees with the server's".to_owned(),
        _ => format!("{skew:.0} s apart from the server's"),
    };
    finding(
        "clock",
        grade,
        found,
        "synchronise both with NTP; `time:` and retention go by it",
    )
}

async fn key(args: &Server, index: usize) -> anyhow::Result<Finding> {
    let check = format!("key at {}", args.servers[index]);
    if args.key.is_none() {
        let fix =
            "set HIGHWATER_KEY; `highwater dev` prints a key, `highwater key create` makes one";
        return Ok(finding(check, Grade::Warning, "none given", fix));
    }
    let mut client = match args.connect(index).await {
        Ok(client) => client,
        Err(error) => {
            let fix = "the port answers HTTP but not gRPC: is a proxy in between without HTTP/2?";
            return Ok(finding(check, Grade::Failed, format!("{error:#}"), fix));
        }
    };
    let topic = "highwater/doctor".to_owned();
    Ok(match client.get_topic(GetTopicRequest { topic }).await {
        Ok(_) => finding(check, Grade::Ok, "valid", ""),
        Err(status) => match status.code() {
            Code::NotFound | Code::PermissionDenied => finding(check, Grade::Ok, "valid", ""),
            Code::Unauthenticated => finding(
                check,
                Grade::Failed,
                status.message(),
                "use a key of this cluster's catalogue; a changed cluster secret ends all keys",
            ),
            _ => finding(
                check,
                Grade::Failed,
                status.message(),
                "try again; see the node's log",
            ),
        },
    })
}
