//! Runs a sample program in a process of its own, with only the given environment.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How to run a sample program.
#[derive(Clone)]
pub struct Sample {
    program: PathBuf,
    directory: PathBuf,
    variables: Vec<(String, OsString)>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Sample {
    /// A program whose only variables are `SSL_CERT_FILE`, and that of a machine without a metadata service.
    ///
    /// * `ca_certificates`: the file with the trusted root certificates.
    /// * `directory`: its working directory.
    pub fn new(program: PathBuf, ca_certificates: &Path, directory: &Path) -> Self {
        let sample = Self {
            program,
            directory: directory.to_owned(),
            variables: Vec::new(),
        };
        sample
            .variable("SSL_CERT_FILE", ca_certificates)
            .variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    }

    /// Unsets a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(variable, _)| variable != name);
        self
    }

    /// Sets a variable.
    pub fn variable(self, name: &str, value: impl Into<OsString>) -> Self {
        let mut sample = self.without(name);
        sample.variables.push((name.to_owned(), value.into()));
        sample
    }

    /// Sets several variables, such as those of a pod.
    pub fn variables<N: AsRef<str>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |sample, (name, value)| {
            sample.variable(name.as_ref(), value)
        })
    }

    /// Runs the program with an empty stdin.
    pub async fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Runs the program until it exits.
    pub async fn run_with<const N: usize>(&self, arguments: [&str; N], stdin: &str) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let stdin = stdin.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // A program may exit before it reads stdin.
            let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
            child.wait_with_output().unwrap()
        });
        let output = output.await.unwrap();
        Output {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Returns the program of an example. `cargo test` builds all examples before it runs a test.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let program = target
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is missing: cargo build --examples",
        program.display()
    );
    program
}

impl Output {
    /// Returns stdout; checks that the exit code is 0 and that stderr is empty.
    #[track_caller]
    pub fn printed(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Returns the only line on stderr; checks that the exit code is 1 and that stdout is empty.
    #[track_caller]
    pub fn failure(&self) -> &str {
        assert_eq!(
            (self.code, self.stdout.as_slice()),
            (Some(1), &b""[..]),
            "{}",
            self.stderr
        );
        let line = self.stderr.strip_suffix('\n').unwrap();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        line
    }
}
