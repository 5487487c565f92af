//! Test of the fault proxy with unmodified clients of Toxiproxy: runs the scripts of `tests/proxy`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::run::{has, python_environment, root, succeed, target};

const NODE_FILES: [&str; 3] = ["node_client.mjs", "package.json", "package-lock.json"];

/// Runs both clients against the example `fault_proxy`, which must be built.
pub(crate) fn check() -> Result<(), String> {
    for needed in ["node", "npm"] {
        if !has(needed) {
            return Err(format!("`{needed}` is required: install Node.js"));
        }
    }
    let (tests, folder) = (root().join("tests/proxy"), target().join("proxy"));
    install_node_client(&tests, &folder.join("node"))?;
    let environment = folder.join("python");
    python_environment(&environment, &tests.join("requirements.txt"))?;

    let program = format!("fault_proxy{}", std::env::consts::EXE_SUFFIX);
    let server = Server::start(&target().join("debug/examples").join(program))?;
    let mut node = Command::new("node");
    node.args(["node_client.mjs", &server.address]).current_dir(folder.join("node"));
    succeed(&mut node)?;
    let mut python = Command::new(environment.join("bin/python"));
    // The Chaos Toolkit writes its log to the working directory.
    python.arg(tests.join("chaos_toolkit.py")).arg(&server.address).current_dir(&environment);
    succeed(python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &tests))
}

/// Installs the client outside the source folders.
fn install_node_client(tests: &Path, folder: &Path) -> Result<(), String> {
    let copy = |file: &&str| std::fs::copy(tests.join(file), folder.join(file)).map(drop);
    std::fs::create_dir_all(folder)
        .and_then(|()| NODE_FILES.iter().try_for_each(copy))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut install = Command::new("npm");
    succeed(install.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(folder))
}

/// The example. It ends when it is dropped, or when this process ends, which closes its standard input.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(program: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = Self { process: command.spawn().map_err(failed)?, address: String::new() };
        if let Some(output) = server.process.stdout.take() {
            BufReader::new(output).read_line(&mut server.address).map_err(failed)?;
        }
        server.address.truncate(server.address.trim_end().len());
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
