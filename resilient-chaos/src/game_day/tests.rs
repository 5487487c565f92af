use super::*;

#[test]
fn a_game_day_reports_all_problems_with_their_places() {
    let text = "[game_day]\nversion = 1\nname = \"a\"\ntitel = \"b\"\nlead = \"c\"\n[[act]]\nscenario = \"overlod\"\n[[act]]\nscenario = \"no-such.toml\"\n";
    let error = GameDay::parse(text).unwrap_err().to_string();
    for part in [
        "4:1: unknown field `titel`; did you mean `title`?",
        "7:12: there is no shipped scenario `overlod`; did you mean `overload`?",
        "9:12: no-such.toml: cannot be read",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_agenda_lists_acts_steps_and_expectations() {
    let day = GameDay::of("a", "A day", "Ada", ["dependency-down", "retry-storm"]).unwrap();
    let agenda = day.agenda().to_string();
    for part in [
        "# A day",
        "Lead: Ada. 2 acts",
        "## 1. dependency-down",
        "circuit `payment` is open within 5 s",
        "## 2. retry-storm",
        "80 % of the calls",
        "Stop at any moment",
    ] {
        assert!(agenda.contains(part), "{part}: {agenda}");
    }
}
