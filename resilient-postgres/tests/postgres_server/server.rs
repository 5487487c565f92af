//! A `PostgreSQL` server for one test.

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use resilient_postgres::{Config, PostgresStore};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgExecutor};

/// Upper bound of every wait. Only a broken program reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a free port, with its data in a temporary directory. Both are removed when it is dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: Folder,
    arguments: Vec<String>,
}

/// A directory that the user of the server owns.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Server {
    /// Starts a server with the tables.
    pub(crate) async fn start() -> Self {
        let server = Self::start_with(&[]).await;
        server.store().migrate().await.unwrap();
        server
    }

    /// Starts a server with additional settings, such as `"synchronous_commit=off"`, and without the tables.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let folder = Folder::new();
        initialize(&folder.0.join("data"));
        Self::start_in(folder, settings).await
    }

    /// Starts a standby that has all data of this server, and follows it.
    pub(crate) async fn start_standby(&self) -> Self {
        let folder = Folder::new();
        let mut backup = program(binaries().join("pg_basebackup"), &folder.0);
        backup.args(["--host=127.0.0.1", "--username=admin", "--checkpoint=fast", "--no-sync"]);
        backup.args(["--write-recovery-conf", "--pgdata=data", &format!("--port={}", self.port)]);
        let output = backup.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::start_in(folder, &[]).await
    }

    async fn start_in(folder: Folder, settings: &[&str]) -> Self {
        let arguments: Vec<_> = settings.iter().map(ToString::to_string).collect();
        let mut port = free_port();
        let mut server = Self { process: spawn(port, &folder.0, &arguments), port, folder, arguments };
        // Another program may have taken the port.
        while !server.responds().await {
            port = free_port();
            server.port = port;
            server.process = spawn(port, &server.folder.0, &server.arguments);
        }
        server
    }

    /// Waits until the server accepts connections. False if it has ended.
    async fn responds(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if PgConnection::connect_with(&self.options()).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not respond: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        url(&self.address())
    }

    fn options(&self) -> PgConnectOptions {
        self.url().parse().unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.url()).timeout(PATIENCE)
    }

    /// A store with a long time limit, for a slow machine.
    pub(crate) fn store(&self) -> PostgresStore {
        PostgresStore::new(self.config()).unwrap()
    }

    pub(crate) fn pool(&self) -> PgPool {
        pool(&self.url())
    }

    /// Runs statements as the administrator.
    pub(crate) async fn run(&self, statements: &str) {
        let mut connection = PgConnection::connect_with(&self.options()).await.unwrap();
        run(&mut connection, statements).await.unwrap();
    }

    /// Kills the server without warning.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again on the same port with the same data.
    pub(crate) async fn start_again(&mut self) {
        let start = Instant::now();
        loop {
            self.process = spawn(self.port, &self.folder.0, &self.arguments);
            // The processes of the killed server end on their own, and it does not start before.
            if self.responds().await {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{}", self.log());
        }
    }

    /// Makes the server a standby at its next start.
    pub(crate) fn demote(&self) {
        let file = self.folder.0.join("data/standby.signal");
        std::fs::write(&file, "").unwrap();
        give(&file);
    }

    /// Sends a signal, such as `STOP` and `CONT`, to all processes of the server.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}")).arg(pid.to_string()).args(children.split_whitespace());
        // A process may have ended in between.
        kill.stderr(Stdio::null()).status().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped process ends only by the second signal.
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("CONT");
            self.signal("KILL");
        }
        let _ = self.process.wait();
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("resilient-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        give(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn url(address: &str) -> String {
    format!("postgres://admin@{address}/postgres?sslmode=disable")
}

pub(crate) fn pool(url: &str) -> PgPool {
    let options = PgPoolOptions::new().max_connections(5).acquire_timeout(PATIENCE);
    options.connect_lazy(url).unwrap()
}

pub(crate) async fn run(executor: impl PgExecutor<'_>, statements: &str) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(executor).await.map(|done| done.rows_affected())
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server refuses to run as `root`. Then it runs as the system user `postgres`.
fn user() -> Option<(u32, u32)> {
    let is_root =
        std::fs::metadata("/proc/self").map(|process| std::os::unix::fs::MetadataExt::uid(&process));
    if is_root.unwrap() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:")).expect("the user `postgres`");
    let mut ids = user.split(':').skip(1).map(|id| id.parse().unwrap());
    Some((ids.next().unwrap(), ids.next().unwrap()))
}

/// Makes the user of the server the owner of a file.
pub(crate) fn give(path: &Path) {
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// A program that runs as the user of the server.
pub(crate) fn program(path: impl AsRef<Path>, folder: &Path) -> Command {
    let mut command = Command::new(path.as_ref());
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// The directory with `initdb` and `postgres`; Debian does not link them into the path.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    // Only some of the programs may have a link.
    let found = folders.into_iter().rev().find_map(|folder| folder.join("initdb").canonicalize().ok());
    let found = found.expect("`PostgreSQL` is required: run `cargo xtask postgres`, which installs it");
    found.parent().unwrap().to_owned()
}

/// Creates the data directory of a server without a password for `admin`.
///
/// The first test keeps a copy for the others, because `initdb` takes most of the time of a short test.
fn initialize(data: &Path) {
    let programs = binaries();
    let name = format!("data-1{}", programs.display().to_string().replace('/', "-"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if kept.exists() {
        return copy(&kept, data);
    }
    let mut initialize = program(programs.join("initdb"), data.parent().unwrap());
    initialize.arg("--pgdata").arg(data);
    initialize.args(["--username=admin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    let output = initialize.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let access = data.join("pg_hba.conf");
    let rules = std::fs::read_to_string(&access).unwrap();
    let password =
        "host all secured 127.0.0.1/32 scram-sha-256\nhostnossl all encrypted 127.0.0.1/32 reject\n";
    std::fs::write(&access, password.to_owned() + &rules).unwrap();
    let copied = kept.with_extension(std::process::id().to_string());
    copy(data, &copied);
    // Another test may have been faster.
    if std::fs::rename(&copied, &kept).is_err() {
        std::fs::remove_dir_all(&copied).unwrap();
    }
}

/// Copies a folder with its owner.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("--archive").args([from, to]).status().unwrap().success());
}

fn spawn(port: u16, folder: &Path, settings: &[String]) -> Child {
    let mut server = program(binaries().join("postgres"), folder);
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    for setting in
        ["fsync=on", "recovery_init_sync_method=syncfs", "shared_buffers=16MB", "max_connections=80"]
    {
        server.args(["-c", setting]);
    }
    for setting in settings {
        server.args(["-c", setting]);
    }
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    server.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
