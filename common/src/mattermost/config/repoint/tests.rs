use super::*;

#[test]
fn what_supervisord_gives_the_server_is_not_changed() {
    let found = environment::Variable { name: "MM_CONFIG".into(), value: "x".into(), file: Some("/x".into()) };
    let manager = Manager::Supervisor { name: "mattermost".into() };
    let all = |old: &str| Ok(vec![super::super::Replacement { range: 0..old.len(), with: "y".into() }]);
    assert_eq!(variable_change(&found, &manager, &all).unwrap_err().code(), 5);
    assert_eq!(variable_change(&found, &manager, &|_| Ok(Vec::new())).unwrap(), None);
}
