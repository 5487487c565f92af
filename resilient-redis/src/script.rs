//! The Lua scripts. Each reads or changes one key, in one step.
//!
//! A script gets `ARGV[1]`, the number of the request, and `ARGV[2]`, which is `1` if the request was sent before and its
//! response was lost. If the operation has a deadline, `ARGV[3]` is the time on the server in microseconds after which
//! no caller waits for the result. Then follow the arguments of the operation. The script returns four values:
//! `{ARGV[1], the time on the server in microseconds, a status, a detail}`. The status `late` means that the deadline
//! has passed and nothing was changed. A script can return numbers after these values.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, ParsingError, RedisError, ServerErrorKind, Value};

/// A script with its hash.
pub(crate) struct Script {
    source: &'static str,
    hash: String,
}

pub(crate) static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/claim.lua")));
pub(crate) static CACHE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/cache.lua")));
pub(crate) static CHANGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/change.lua")));
pub(crate) static LOGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/login.lua")));
pub(crate) static REPLICA: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/replica.lua")));
pub(crate) static ANNOUNCE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/announce.lua")));
pub(crate) static CIRCUIT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/circuit.lua")));

/// A response of a script.
pub(crate) struct Response {
    /// The number of the request.
    pub(crate) request: u64,
    /// The time on the server, in microseconds.
    pub(crate) time: u64,
    pub(crate) status: String,
    pub(crate) detail: Vec<u8>,
    pub(crate) numbers: Vec<u64>,
}

impl FromRedisValue for Response {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
            T::from_redis_value(values.next().ok_or("a script returns four values or more")?)
        }
        let Value::Array(values) = value else { return Err("a script returns an array".into()) };
        let mut values = values.into_iter();
        Ok(Self {
            request: next(&mut values)?,
            time: next(&mut values)?,
            status: next(&mut values)?,
            detail: next(&mut values)?,
            numbers: values.map(u64::from_redis_value).collect::<Result<_, _>>()?,
        })
    }
}

impl Script {
    pub(crate) fn new(source: &'static str) -> Self {
        Self { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }

    /// Runs the script on one key.
    ///
    /// It is sent as a whole only if the server does not know its hash, after a restart for example.
    /// `is_asking`: the server gets the slot of the key from another node of the cluster at the moment.
    pub(crate) async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        key: &str,
        arguments: &[&[u8]],
        is_asking: bool,
    ) -> Result<Response, RedisError> {
        let of = |command: &str, script: &str| {
            let mut command: Cmd = redis::cmd(command);
            command.arg(script).arg(1).arg(key).arg(arguments);
            command
        };
        if is_asking {
            // Both commands are sent together, so that no other one of this connection comes between them.
            let mut both = redis::pipe();
            both.cmd("ASKING").ignore().add_command(of("EVAL", self.source));
            let (response,): (Response,) = both.query_async(connection).await?;
            return Ok(response);
        }
        let found = of("EVALSHA", &self.hash).query_async(connection).await;
        match found {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                of("EVAL", self.source).query_async(connection).await
            }
            found => found,
        }
    }
}
