//! What a mistake looks like. The `.stderr` files are the specification of our messages.
//!
//! `ui/own` holds messages of the attribute itself, `ui/rustc` those of the compiler that the attribute steers.
//! `TRYBUILD=overwrite cargo test -p resilient-tests --test ui` writes them anew; look at the difference.

#[test]
fn mistakes_are_explained_at_the_users_own_token() {
    // T126, T127, T151, T153
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/own/*/*.rs");
    cases.compile_fail("tests/ui/rustc/*/*.rs");
}
