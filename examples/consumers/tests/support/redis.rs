//! A Redis of Debian's package in a process of its own.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::program;

/// A running server without users but `default`. It is stopped when this value is dropped.
pub struct Redis {
    process: Child,
    pub port: u16,
    _directory: TempDir,
}

impl Redis {
    pub async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut process = Command::new(program("REDIS_SERVER"))
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
            ])
            .arg(port.to_string())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Connecting is the event: the server listens when it accepts.
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(process.try_wait().unwrap().is_none(), "Redis exited");
            tokio::task::yield_now().await;
        }
        Self {
            process,
            port,
            _directory: directory,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
