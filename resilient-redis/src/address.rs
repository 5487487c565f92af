//! Where the server is: one server, the primary that Sentinel names, or the nodes of a cluster.

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use crate::config::{Login, Source};
use crate::server::Server;

const SINGLE: &str = "redis://[user][:password@]host[:port][/database]";
const SENTINEL: &str = "redis+sentinel://[user:password@]host[:port],host[:port]/master[/database]";
const CLUSTER: &str = "redis+cluster://[user:password@]host[:port],host[:port]";
/// Ports of addresses without one.
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Maximum number of addresses in a list.
const MOST_ADDRESSES: usize = 100;

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Single(Server),
    /// The server that the sentinels name as the primary `master`.
    Sentinel {
        master: String,
        sentinels: Vec<Server>,
        access: Access,
    },
    /// The nodes of a cluster. The seeds are asked for the others.
    Cluster {
        seeds: Vec<Server>,
        access: Access,
    },
}

/// How to connect to a server whose address another server has told.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    login: RedisConnectionInfo,
    is_encrypted: bool,
}

impl Access {
    pub(crate) fn server(&self, host: &str, port: u16) -> Result<Server, redis::RedisError> {
        let host = host.to_owned();
        let address = if self.is_encrypted {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address.into_connection_info()?.set_redis_settings(self.login.clone());
        redis::Client::open(info).map(Server::new)
    }

    fn scheme(&self) -> &'static str {
        if self.is_encrypted { "rediss" } else { "redis" }
    }
}

impl Place {
    /// Finds the servers. The messages do not contain the URL, because it can contain a password.
    pub(crate) fn find(
        source: &Source,
        login: Option<&Login>,
        sentinel_login: Option<&Login>,
    ) -> Result<Self, String> {
        let listed = |form, port, hosts: &[String]| List::of(form, port, hosts.iter().map(String::as_str));
        match source {
            Source::Url(url) => {
                let split = url.split_once("://");
                let kind = split.and_then(|(scheme, rest)| Some((scheme.split_once('+')?, rest)));
                match kind {
                    Some(((base, "sentinel"), rest)) => sentinel_url(base, rest, login, sentinel_login),
                    Some(((base, "cluster"), rest)) => cluster_url(base, rest, login),
                    _ => single(url, login),
                }
            }
            Source::Sentinel { master, addresses } => {
                let list = listed(SENTINEL, SENTINEL_PORT, addresses)?;
                let access =
                    Access { login: with(RedisConnectionInfo::default(), login), is_encrypted: false };
                sentinel(master, list, access, with(RedisConnectionInfo::default(), sentinel_login))
            }
            Source::Cluster { addresses } => {
                let list = listed(CLUSTER, REDIS_PORT, addresses)?;
                let access =
                    Access { login: with(RedisConnectionInfo::default(), login), is_encrypted: false };
                cluster(list, access)
            }
        }
    }

    /// The address without user and password.
    pub(crate) fn shown(&self) -> String {
        let joined =
            |servers: &[Server]| servers.iter().map(|server| &*server.address).collect::<Vec<_>>().join(",");
        match self {
            Self::Single(server) => server.shown(),
            Self::Sentinel { master, sentinels, access } => {
                let (scheme, database) = (access.scheme(), access.login.db());
                format!("{scheme}+sentinel://{}/{master}/{database}", joined(sentinels))
            }
            Self::Cluster { seeds, access } => format!("{}+cluster://{}", access.scheme(), joined(seeds)),
        }
    }
}

fn single(url: &str, login: Option<&Login>) -> Result<Place, String> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        encrypt()?;
    }
    let wrong = |_| {
        format!(
            "url is not valid: use `{SINGLE}`, `{SENTINEL}` or `{CLUSTER}`, with special characters percent-encoded"
        )
    };
    let info = url.into_connection_info().map_err(wrong)?;
    let settings = with(info.redis_settings().clone(), login);
    redis::Client::open(info.set_redis_settings(settings))
        .map(|client| Place::Single(Server::new(client)))
        .map_err(wrong)
}

/// `[user:password@]host[:port],../master[/database][?sentinel_user=..&sentinel_password=..]`
fn sentinel_url(
    base: &str,
    rest: &str,
    login: Option<&Login>,
    sentinel_login: Option<&Login>,
) -> Result<Place, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) =
        rest.split_once('/').ok_or_else(|| invalid(SENTINEL, "the name of the master is missing"))?;
    let access = access(SENTINEL, base, authority, login)?;
    let (master, database) =
        path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), "0"));
    let database: u16 = database.parse().map_err(|_| invalid(SENTINEL, "the database is not a number"))?;
    let (mut user, mut password) = ("", "");
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "sentinel_user" => user = value,
            "sentinel_password" => password = value,
            _ => return Err(invalid(SENTINEL, "parameters are `sentinel_user` and `sentinel_password`")),
        }
    }
    let asked = decoded(SENTINEL, &format!("{user}:{password}"))?;
    let list = List::of(SENTINEL, SENTINEL_PORT, hosts(authority).split(','))?;
    let access = Access { login: access.login.set_db(database.into()), ..access };
    sentinel(master, list, access, with(asked, sentinel_login))
}

/// `[user:password@]host[:port],..`
fn cluster_url(base: &str, rest: &str, login: Option<&Login>) -> Result<Place, String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path, "" | "0") {
        return Err(invalid(CLUSTER, "a cluster has no database and no parameters"));
    }
    let access = access(CLUSTER, base, authority, login)?;
    cluster(List::of(CLUSTER, REDIS_PORT, hosts(authority).split(','))?, access)
}

fn sentinel(master: &str, list: List, access: Access, login: RedisConnectionInfo) -> Result<Place, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if master.is_empty() || !master.chars().all(is_allowed) {
        return Err(invalid(SENTINEL, "the name of the master has letters, digits, `-`, `_` and `.`"));
    }
    let sentinels = list.servers(&Access { login, is_encrypted: access.is_encrypted })?;
    Ok(Place::Sentinel { master: master.to_owned(), sentinels, access })
}

fn cluster(list: List, access: Access) -> Result<Place, String> {
    Ok(Place::Cluster { seeds: list.servers(&access)?, access })
}

fn access(form: &str, base: &str, authority: &str, login: Option<&Login>) -> Result<Access, String> {
    let is_encrypted = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(invalid(form, "the scheme is unknown")),
    };
    if is_encrypted {
        encrypt()?;
    }
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    Ok(Access { login: with(decoded(form, user)?, login), is_encrypted })
}

/// The part after the login.
fn hosts(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)
}

/// The login in the form of a URL, `user:password`.
fn decoded(form: &str, login: &str) -> Result<RedisConnectionInfo, String> {
    let url = format!("redis://{login}@localhost");
    let info = url.into_connection_info().map_err(|_| invalid(form, "the login is not percent-encoded"))?;
    let is_whole = matches!(info.addr(), ConnectionAddr::Tcp(host, _) if host == "localhost");
    if is_whole {
        Ok(info.redis_settings().clone())
    } else {
        Err(invalid(form, "the login is not percent-encoded"))
    }
}

fn with(settings: RedisConnectionInfo, login: Option<&Login>) -> RedisConnectionInfo {
    match login {
        None => settings,
        Some(login) if login.user.is_empty() => {
            let database = settings.db();
            RedisConnectionInfo::default().set_db(database).set_password(&login.password)
        }
        Some(login) => settings.set_username(&login.user).set_password(&login.password),
    }
}

fn encrypt() -> Result<(), String> {
    if !cfg!(feature = "tls") {
        return Err("url needs TLS: enable the feature `tls` of resilient-redis".to_owned());
    }
    #[cfg(feature = "tls")]
    crate::tls::install_provider();
    Ok(())
}

fn invalid(form: &str, reason: &str) -> String {
    format!("address is not valid, {reason}: use `{form}`, with special characters percent-encoded")
}

/// Hosts with their ports.
struct List(Vec<(String, u16)>);

impl List {
    fn of<'a>(form: &str, port: u16, hosts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let parsed = hosts.map(|host| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
            let url =
                host.chars().all(is_allowed).then(|| redis::parse_redis_url(&format!("redis://{host}")));
            let url = url.flatten().ok_or_else(|| invalid(form, "a host or port is wrong"))?;
            let name = url.host_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| invalid(form, "a host is missing"))?;
            Ok((name.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(port)))
        });
        let list: Vec<_> = parsed.collect::<Result<_, String>>()?;
        if list.is_empty() || list.len() > MOST_ADDRESSES {
            return Err(invalid(
                form,
                &format!("{} hosts are listed, allowed are 1 to {MOST_ADDRESSES}", list.len()),
            ));
        }
        Ok(Self(list))
    }

    fn servers(self, access: &Access) -> Result<Vec<Server>, String> {
        let opened = self.0.into_iter().map(|(host, port)| access.server(&host, port));
        opened.collect::<Result<_, _>>().map_err(|_| "an address is not valid".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn shown(config: &Config) -> Result<String, String> {
        config.place().map(|place| place.shown())
    }

    #[test]
    fn each_form_of_an_address_is_understood_and_shown_without_the_login() {
        for (url, address) in [
            ("redis://user:s3cret@db.internal", "redis://db.internal:6379/0"),
            ("redis://:s3cret@[::1]:7000/3", "redis://::1:7000/3"),
            ("valkey://host", "redis://host:6379/0"),
            ("unix:///run/redis.sock?pass=s3cret", "unix:///run/redis.sock"),
            ("redis+sentinel://a/m", "redis+sentinel://a:26379/m/0"),
            (
                "valkey+sentinel://u:s3cret%40@a:1,[::1]:2,b.c/my-master/7",
                "redis+sentinel://a:1,::1:2,b.c:26379/my-master/7",
            ),
            ("redis+sentinel://:s3cret@a/m?sentinel_password=s3cret", "redis+sentinel://a:26379/m/0"),
            ("redis+cluster://u:s3cret@a:7000,b", "redis+cluster://a:7000,b:6379"),
            ("valkey+cluster://a/0", "redis+cluster://a:6379"),
        ] {
            let config = Config::new(url);
            assert_eq!(shown(&config).as_deref(), Ok(address), "{url}");
            assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
        }
        let listed = Config::sentinel("m", ["a:1", "b"]).login("app", "s3cret").sentinel_login("", "s3cret");
        assert_eq!(shown(&listed).as_deref(), Ok("redis+sentinel://a:1,b:26379/m/0"));
        assert!(!format!("{listed:?}").contains("s3cret"));
        assert_eq!(shown(&Config::cluster(["a", "[::1]:7"])).as_deref(), Ok("redis+cluster://a:6379,::1:7"));
        for url in ["rediss://:s3cret@host", "rediss+cluster://host", "valkeys+sentinel://host:6379/m"] {
            let found = shown(&Config::new(url));
            if cfg!(feature = "tls") {
                assert!(found.as_ref().is_ok_and(|shown| shown.starts_with("rediss")), "{found:?}");
            } else {
                assert!(found.unwrap_err().contains("enable the feature `tls`"));
            }
        }
    }

    #[test]
    fn each_wrong_address_is_an_error_that_shows_the_form_and_no_password() {
        for (url, part) in [
            ("redis+sentinel://u:s3cret@a:1", "the name of the master is missing: use `redis+sentinel://"),
            ("redis+sentinel://u:s3cret@a/", "the name of the master has letters"),
            ("redis+sentinel://a/m/x", "the database is not a number"),
            ("redis+sentinel://a/m?db=1", "parameters are `sentinel_user`"),
            ("redis+sentinel:///m", "a host is missing"),
            ("redis+sentinel://a,,b/m", "a host is missing"),
            ("redis+sentinel://s3cret#@a/m", "the login is not percent-encoded"),
            ("redis+cluster://u:s3cret@a:99999", "a host or port is wrong: use `redis+cluster://"),
            ("redis+cluster://a/3", "a cluster has no database"),
            ("redis+cluster://a?x=s3cret", "a host or port is wrong"),
            ("http+cluster://a", "the scheme is unknown"),
            ("redis+other://s3cret@a", "url is not valid: use `redis://"),
            ("a:7000,b:7000", "url is not valid: use `redis://"),
        ] {
            let config = Config::new(url);
            let problem = shown(&config).unwrap_err();
            assert!(problem.contains(part) && problem.contains("redis+"), "{url}: {problem}");
            assert!(!problem.contains("s3cret") && !format!("{config:?}").contains("s3cret"), "{problem}");
        }
        let none: [&str; 0] = [];
        assert!(shown(&Config::cluster(none)).unwrap_err().contains("0 hosts are listed"));
        assert!(
            shown(&Config::sentinel("a b", ["h"]))
                .unwrap_err()
                .contains("the name of the master has letters")
        );
        assert!(shown(&Config::cluster(vec!["h"; 101])).unwrap_err().contains("101 hosts are listed"));
    }

    #[test]
    fn a_login_replaces_the_one_in_the_url() {
        let login = |config: Config| match config.place() {
            Ok(Place::Sentinel { access, sentinels, .. }) => {
                (access.login.password().map(str::to_owned), sentinels[0].password().map(str::to_owned))
            }
            Ok(Place::Single(server)) => (server.password().map(str::to_owned), None),
            found => panic!("{found:?}"),
        };
        let text = |text: &str| Some(text.to_owned());
        let url = "redis+sentinel://u:a%40b@h/m?sentinel_user=s&sentinel_password=c%2Fd";
        assert_eq!(login(Config::new(url)), (text("a@b"), text("c/d")));
        assert_eq!(login(Config::new(url).login("u", "x")), (text("x"), text("c/d")));
        assert_eq!(login(Config::new(url).sentinel_login("", "y")), (text("a@b"), text("y")));
        assert_eq!(login(Config::new("redis://u:a@h").login("", "x")), (text("x"), None));
        assert_eq!(login(Config::sentinel("m", ["h"]).login("u", "x")), (text("x"), None));
    }
}
