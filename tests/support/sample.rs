//! Runs a sample program as its own process, with an environment of a pod and nothing else.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One call of a sample program.
#[derive(Clone)]
pub struct Sample {
    program: PathBuf,
    directory: PathBuf,
    variables: Vec<(String, OsString)>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Sample {
    /// A program with no variable but `SSL_CERT_FILE`.
    ///
    /// * `ca_certificates`: the file with the roots to trust.
    /// * `directory`: where it runs.
    pub fn new(program: PathBuf, ca_certificates: &Path, directory: &Path) -> Self {
        let sample = Self {
            program,
            directory: directory.to_owned(),
            variables: Vec::new(),
        };
        sample.variable("SSL_CERT_FILE", ca_certificates)
    }

    /// Unsets a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(variable, _)| variable != name);
        self
    }

    /// Sets one more variable.
    pub fn variable(self, name: &str, value: impl Into<OsString>) -> Self {
        let mut this = self.without(name);
        this.variables.push((name.to_owned(), value.into()));
        this
    }

    /// Sets more variables, such as those of a pod.
    pub fn variables<N: AsRef<str>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |sample, (name, value)| {
            sample.variable(name.as_ref(), value)
        })
    }

    /// Runs it with nothing on stdin.
    pub async fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Runs it to its end.
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
            // A program that ends before it reads is no fault of this one.
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

/// The program of an example; `cargo test` builds all of them before it runs a test.
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
    /// What it printed, if it ended well and without a word on stderr.
    #[track_caller]
    pub fn printed(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one line on stderr of a call that failed.
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
