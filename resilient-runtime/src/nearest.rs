//! "Did you mean": the known name that is nearest to a mistyped one.

/// The nearest of `known` by edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(word, known).into_iter().next()
}

/// Those of `known` that are near enough to be meant, nearest first.
pub(crate) fn ranked<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // A name of 10 kB is near to nothing, and its distance costs the product of the lengths.
    if word.len() > 256 {
        return Vec::new();
    }
    let word = word.to_lowercase();
    let near = |name: &'a str| {
        let distance = strsim::levenshtein(&word, &name.to_lowercase());
        (distance <= 2 + name.len() / 4).then_some((distance, name))
    };
    let mut found: Vec<_> = known.into_iter().filter_map(near).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_finds_none() {
        let known = ["payment", "orders", "Payment-EU"];
        assert_eq!(nearest("paymnet", known), Some("payment"));
        assert_eq!(nearest("PAYMENT", known), Some("payment"));
        assert_eq!(nearest("inventory-service", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
