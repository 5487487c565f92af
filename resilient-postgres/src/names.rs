//! The names of the tables.

/// The names in the migrations. They are replaced by the names of the settings.
const SCHEMA_OF_FILES: &str = "public.";
const TABLE_OF_FILES: &str = "resilient_idempotency";
/// Names in `PostgreSQL` have at most 63 bytes. The longest one that is derived from the table adds 13.
const LONGEST: usize = 50;

/// The names of the tables, quoted for SQL, and of the first one as shown to people.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) schema: String,
    /// The records.
    pub(crate) records: String,
    /// The versions of the schema.
    pub(crate) versions: String,
    /// The records of replica sets.
    pub(crate) replicas: String,
    pub(crate) shown: String,
    table: String,
}

impl Names {
    /// Expects names without a [`problem`].
    pub(crate) fn new(schema: &str, table: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            records: format!("\"{schema}\".\"{table}\""),
            versions: format!("\"{schema}\".\"{table}_version\""),
            replicas: format!("\"{schema}\".\"{table}_replica\""),
            shown: format!("{schema}.{table}"),
            table: table.to_owned(),
        }
    }

    /// Replaces the names in a migration.
    pub(crate) fn applied_to(&self, migration: &str) -> String {
        let (schema, table) = (&self.schema, &self.table);
        // In one pass, because a new name can contain an old one.
        let mut parts = migration.split(TABLE_OF_FILES);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            let (suffix, rest) = part.split_at(end);
            text = match text.strip_suffix(SCHEMA_OF_FILES) {
                Some(before) => format!("{before}\"{schema}\".\"{table}{suffix}\"{rest}"),
                None => format!("{text}{table}{suffix}{rest}"),
            };
        }
        text
    }
}

/// The problem with a name, if there is one. An allowed name needs no escaping.
pub(crate) fn problem(setting: &str, name: &str) -> Option<String> {
    let bytes = name.len();
    if bytes == 0 || bytes > LONGEST {
        return Some(format!("{setting} has {bytes} bytes, allowed are 1 to {LONGEST}"));
    }
    let is_allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
    if let Some(wrong) = name.chars().find(|c| !is_allowed(c)) {
        return Some(format!("{setting} contains {wrong:?}, allowed are lower-case letters, digits and `_`"));
    }
    let first = name.chars().next().filter(char::is_ascii_digit)?;
    Some(format!("{setting} starts with {first:?}, allowed are lower-case letters and `_`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_need_escaping_is_refused() {
        for (name, part) in [
            ("", "has 0 bytes"),
            ("Orders", "contains 'O'"),
            ("a\"; DROP TABLE x; --", "contains '\"'"),
            ("a.b", "contains '.'"),
            ("é", "contains 'é'"),
            ("7a", "starts with '7'"),
        ] {
            let problem = problem("table", name).unwrap();
            assert!(problem.starts_with("table ") && problem.contains(part), "{problem}");
        }
        assert!(problem("table", &"x".repeat(51)).unwrap().contains("has 51 bytes"));
        assert_eq!(problem("table", "_orders_7"), None);
    }

    #[test]
    fn each_name_in_a_migration_is_replaced() {
        let file = "CREATE TABLE public.resilient_idempotency (x int);\n\
                    CREATE INDEX resilient_idempotency_expires_at ON public.resilient_idempotency (x);\n\
                    CREATE TABLE public.resilient_idempotency_version (x int);";
        let expected = "CREATE TABLE \"shop\".\"order\" (x int);\n\
                        CREATE INDEX order_expires_at ON \"shop\".\"order\" (x);\n\
                        CREATE TABLE \"shop\".\"order_version\" (x int);";
        assert_eq!(Names::new("shop", "order").applied_to(file), expected);
        let longer = expected.replace("order", "resilient_idempotency_2");
        assert_eq!(Names::new("shop", "resilient_idempotency_2").applied_to(file), longer);
    }
}
