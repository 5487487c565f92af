//! Sessions over members that do not have the same.

use resilient_replica::resolve::{Actor, PnCounter};
use resilient_replica::{InvalidSession, Level, Mode, Problem, Session};

use crate::members::Behaviour::{Down, Works};
use crate::members::Members;

#[tokio::test(start_paused = true)]
async fn a_client_sees_its_own_writes_and_never_goes_back() {
    // T207
    let members = Members::new();
    let set = members.registers(Mode::Ap).at(Level::One);
    let (mut writer, mut reader) = (Session::new(), Session::new());
    set.write("key", &1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    members.behave([Down, Down, Works]);
    set.write_in(&mut writer, "key", &2).await.unwrap();
    members.behave([Works, Works, Works]);
    assert_eq!(set.read("key").await.unwrap().value, Some(1), "without a session, from another member");
    assert_eq!(set.read_in(&mut writer, "key").await.unwrap().value, Some(2), "read your writes");

    assert_eq!(set.at(Level::All).read_in(&mut reader, "key").await.unwrap().value, Some(2));
    let mut reader: Session = reader.to_string().parse().unwrap();
    assert_eq!(set.read_in(&mut reader, "key").await.unwrap().value, Some(2), "monotonic reads");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_would_go_back_is_refused() {
    let members = Members::new();
    let set = members.registers(Mode::Ap).at(Level::One);
    set.write("key", &1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    members.behave([Down, Down, Works]);
    let mut session = Session::new();
    set.write_in(&mut session, "key", &2).await.unwrap();
    members.behave([Works, Works, Down]);
    let refused = set.read_in(&mut session, "key").await.unwrap_err();
    assert!(matches!(refused.problem, Problem::BehindSession { reached: 2, members: 3, .. }), "{refused}");
    assert_eq!(set.read("key").await.unwrap().value, Some(1), "without the session");
}

#[tokio::test(start_paused = true)]
async fn a_client_sees_its_own_changes_of_merged_values() {
    let members = Members::new();
    let set = members.merging::<PnCounter>(Mode::Ap).at(Level::One);
    let add = |number: i64| move |count: &mut PnCounter, actor: Actor| count.add(actor, number).map(drop);
    members.behave([Down, Down, Works]);
    let mut session = Session::new();
    set.update_in(&mut session, "key", add(5)).await.unwrap();
    // Another member gets a change with a higher version.
    members.behave([Works, Down, Down]);
    set.update("key", add(1)).await.unwrap();
    members.behave([Works, Works, Works]);
    let value = set.read_in(&mut session, "key").await.unwrap().value.unwrap().value();
    assert!(value >= 5, "{value}");
    let again = set.read_in(&mut session, "key").await.unwrap().value.unwrap().value();
    assert!(again >= value, "{again} {value}");
}

#[test]
fn texts_that_are_no_sessions_are_refused() {
    for wrong in
        ["", "2", "1xyz", &format!("1{}", "0".repeat(63)), &format!("1{}", "0".repeat(64 * 17)), "1é"]
    {
        assert_eq!(wrong.parse::<Session>(), Err(InvalidSession), "{wrong}");
    }
    let full: Session = format!("1{}", "0123456789abcdef".repeat(4 * 16)).parse().unwrap();
    assert!(full.to_string().len() <= 1100);
    assert_eq!("1".parse(), Ok(Session::new()));
}

#[tokio::test(start_paused = true)]
async fn a_session_remembers_the_last_16_keys_and_a_forged_one_harms_its_client_only() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    let mut session = Session::new();
    for key in 0..100 {
        set.write_in(&mut session, &key.to_string(), &key).await.unwrap();
    }
    assert_eq!(session.to_string().len(), 1 + 64 * 16);
    let last = session.to_string();
    let forged = format!("{}{}{}", &last[..last.len() - 48], "f".repeat(32), "0".repeat(16));
    let mut forged: Session = forged.parse().unwrap();
    assert!(matches!(
        set.read_in(&mut forged, "99").await.unwrap_err().problem,
        Problem::BehindSession { .. }
    ));
    set.write("99", &1).await.expect("others can still write the key");
}
