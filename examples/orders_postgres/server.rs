//! A temporary `PostgreSQL` server.

use std::error::Error;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends when it is dropped. Its data is removed then.
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
    programs: PathBuf,
}

impl Server {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let programs = programs().ok_or(
            "PostgreSQL is not installed: install it, for example by `apt install postgresql`, or pass `--database URL`",
        )?;
        let folder = std::env::temp_dir().join(format!("orders-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        if let Some((user, group)) = user()? {
            chown(&folder, Some(user), Some(group))?;
        }
        let mut initialize = command(&programs.join("initdb"), &folder)?;
        initialize
            .args(["--username=admin", "--auth=trust", "--no-sync", "--pgdata"])
            .arg(folder.join("data"));
        let output = initialize.output().await?;
        if !output.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        println!("Started a temporary PostgreSQL server on port {port}.\n");
        let process = spawn(&programs, &folder, port)?;
        let mut server = Self { process, port, folder, programs };
        server.accepts().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://admin@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Kills the server without warning, and starts it with the same data.
    pub(crate) async fn kill_and_restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill().await?;
        self.process = spawn(&self.programs, &self.folder, self.port)?;
        self.accepts().await
    }

    /// Waits until the server accepts connections.
    async fn accepts(&mut self) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while PgConnection::connect(&self.url()).await.is_err() {
            if start.elapsed() > PATIENCE {
                return Err("the server does not start".into());
            }
            // It does not start before the processes of a killed server have ended.
            if self.process.try_wait()?.is_some() {
                self.process = spawn(&self.programs, &self.folder, self.port)?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The processes of its connections end with it.
        let _ = self.process.start_kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(programs: &Path, folder: &Path, port: u16) -> Result<Child, Box<dyn Error>> {
    let mut server = command(&programs.join("postgres"), folder)?;
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    server.args(["-c", "recovery_init_sync_method=syncfs"]);
    Ok(server.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?)
}

/// A program that runs as the user of the server.
fn command(program: &Path, folder: &Path) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(program);
    if let Some((user, group)) = user()? {
        command.uid(user).gid(group);
    }
    command.current_dir(folder).stdin(Stdio::null());
    Ok(command)
}

/// The server refuses to run as `root`. Then it runs as the system user `postgres`.
fn user() -> Result<Option<(u32, u32)>, Box<dyn Error>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let user = user.ok_or("the server cannot run as `root`, and the system has no user `postgres`")?;
    let mut ids = user.split(':').skip(1);
    let mut id =
        || ids.next().ok_or("the user `postgres` has no id")?.parse().map_err(Box::<dyn Error>::from);
    Ok(Some((id()?, id()?)))
}

/// The directory with `initdb` and `postgres`; Debian does not link them into the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders.into_iter().rfind(|folder| folder.join("initdb").exists())
}
