//! Finds the known name closest to a misspelled one, for "did you mean" hints.

/// Returns the name in `known` with the smallest edit distance to `word`, if it is close enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(word, known).into_iter().next()
}

/// Returns the names in `known` that are close enough to `word`, closest first.
pub(crate) fn ranked<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // The cost is the product of the lengths, and no known name is close to a word this long.
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
    fn a_misspelled_name_finds_its_match_and_an_unknown_one_finds_none() {
        let known = ["payment", "orders", "Payment-EU"];
        assert_eq!(nearest("paymnet", known), Some("payment"));
        assert_eq!(nearest("PAYMENT", known), Some("payment"));
        assert_eq!(nearest("inventory-service", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
