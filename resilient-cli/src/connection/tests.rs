use std::collections::HashMap;

use super::*;

/// Finds a connection with these variables and no others.
fn find(global: &Global, variables: &[(&str, &str)]) -> Result<(Connection, Vec<String>), Failure> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Connection::find_with(global, |name| variables.get(name).map(OsString::from))
}

fn with_url(url: &str) -> Result<String, Failure> {
    let global = Global { url: Some(url.into()), ..Global::default() };
    find(&global, &[]).map(|(connection, _)| connection.base)
}

/// A folder of its own, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("resilient-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("resilient")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_prefix_is_added_unless_the_url_has_it() {
    for url in [
        "http://127.0.0.1:3000",
        "127.0.0.1:3000",
        "http://127.0.0.1:3000/",
        "http://127.0.0.1:3000/dashboard",
        "http://127.0.0.1:3000/api/resilience/",
    ] {
        assert_eq!(with_url(url).unwrap(), "http://127.0.0.1:3000/api/resilience", "{url}");
    }
    assert_eq!(with_url("https://[::1]:9/shop").unwrap(), "https://[::1]:9/shop/api/resilience");
    let root = Global { prefix: Some("/".into()), ..Global::default() };
    assert_eq!(find(&root, &[]).unwrap().0.base, "http://127.0.0.1:3000");
}

#[test]
fn an_invalid_url_is_refused_without_repeating_it() {
    for url in [
        "ftp://host",
        "http://",
        "http://user:secret@host",
        "http://host/?token=secret",
        "http://a b",
        "",
        "http://host:99999999",
    ] {
        let error = with_url(url).unwrap_err();
        assert_eq!(error.exit, crate::exit::Exit::Usage, "{url}");
        assert!(error.message.contains("the option --url"), "{url}: {error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn an_option_takes_precedence_over_a_variable_and_a_variable_over_the_file() {
    let folder = Folder::new("order");
    folder.write(
        "resilient/config.toml",
        "url = \"http://file\"\ntoken = \"token-of-the-file\"\ntimeout = \"9s\"\n",
    );
    let home = ("XDG_CONFIG_HOME", folder.name());
    let (from_file, _) = find(&Global::default(), &[home]).unwrap();
    assert_eq!(from_file.base, "http://file/api/resilience");
    assert_eq!(from_file.token, Some(Secret::new("token-of-the-file")));
    assert_eq!(from_file.timeout, Duration::from_secs(9));
    let variables =
        [home, ("RESILIENT_URL", "http://variable"), ("RESILIENT_TOKEN", "token-of-the-variable")];
    let (from_variable, _) = find(&Global::default(), &variables).unwrap();
    assert_eq!(from_variable.base, "http://variable/api/resilience");
    assert_eq!(from_variable.token_from, "the variable RESILIENT_TOKEN");
    let options = Global {
        url: Some("http://option".into()),
        token: Some(Secret::new("token-of-the-option")),
        ..Global::default()
    };
    let (from_option, warnings) = find(&options, &variables).unwrap();
    assert_eq!(from_option.base, "http://option/api/resilience");
    assert_eq!(from_option.token, Some(Secret::new("token-of-the-option")));
    assert!(warnings[0].contains("visible in the list of processes"), "{warnings:?}");
}

#[test]
fn an_invalid_configuration_file_is_reported_without_its_text() {
    let folder = Folder::new("invalid");
    for (text, why) in [
        ("url = \"http://a\"\ntokn = \"very-secret\"\n", ":2: unknown key"),
        ("token = \"very-secret\n", ":1: not valid TOML"),
        ("\n\ntimeout = \"very-secret\"", ":3: `timeout`: expected a number with a unit"),
        ("url = 7", ":1: expected a text"),
    ] {
        folder.write("resilient/config.toml", text);
        let error = find(&Global::default(), &[("XDG_CONFIG_HOME", folder.name())]).unwrap_err();
        assert!(error.message.contains(why), "{error}");
        assert!(!format!("{error:?}").contains("very-secret"), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_file_that_others_can_read_is_reported_and_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("file");
    let path = folder.write("token", "  a-token-in-a-file\n");
    let global = Global { token_file: Some(path.clone()), ..Global::default() };
    for (mode, count) in [(0o644, 1), (0o600, 0)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (connection, warnings) = find(&global, &[]).unwrap();
        assert_eq!(connection.token, Some(Secret::new("a-token-in-a-file")));
        assert_eq!(warnings.len(), count, "{warnings:?}");
    }
}

#[test]
fn a_token_that_a_header_cannot_contain_is_refused_without_printing_it() {
    for token in ["very\nsecret", "geheim-ü", "\u{1b}[31msecret", "   "] {
        let error = find(&Global::default(), &[("RESILIENT_TOKEN", token)]).unwrap_err();
        assert!(error.message.contains("RESILIENT_TOKEN"), "{error}");
        assert!(
            !format!("{error:?}").contains("secret") && !format!("{error:?}").contains("geheim"),
            "{error:?}"
        );
    }
}

#[test]
fn a_local_service_is_recognized() {
    for (url, is_local) in [
        ("http://localhost:1", true),
        ("http://127.9.9.9", true),
        ("http://[::1]:3", true),
        ("http://shop.example", false),
        ("http://127.0.0.1.example", false),
    ] {
        let global = Global { url: Some(url.into()), ..Global::default() };
        assert_eq!(find(&global, &[]).unwrap().0.is_local(), is_local, "{url}");
    }
}
