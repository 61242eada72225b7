//! The database: many changes in one commit, a history that shows every touch, tokens that are used once.

use roadstead_model::{AppName, EnvironmentName, EnvironmentSpec, Labels, Millis, Timestamp};
use roadstead_pki::{Authority, Identity, JoinToken};
use std::path::Path;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

async fn open(folder: &Path) -> Store {
    Store::open(&folder.join("roadstead.db")).await.unwrap()
}

fn spec(keep: u32) -> EnvironmentSpec {
    EnvironmentSpec {
        name: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        hosts: roadstead_model::Selector::default(),
        gates: roadstead_model::Gates::default(),
        strategy: roadstead_model::Strategy::default(),
        traffic: None,
        analysis: None,
        bake: Millis(0),
        keep,
        database: roadstead_model::DatabasePolicy { backup: roadstead_model::BackupDemand::None, contract_after: None },
        drift: roadstead_model::DriftPolicy::default(),
        failover: None,
        timeouts: roadstead_model::Timeouts::default(),
        variables: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        files: std::collections::BTreeMap::new(),
        overrides: vec![],
    }
}

#[tokio::test]
async fn changes_that_wait_are_committed_together_and_each_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(move |batch| {
                        Box::pin(async move {
                            batch.tell(NewEvent::new(NOW, "test", "counted", format!("{number}"), ""));
                            // Every tenth change fails, and leaves the others alone.
                            if number % 10 == 0 { Err(StoreError::damaged("test", number)) } else { Ok(number) }
                        })
                    })
                    .await
            })
        })
        .collect();
    let mut good = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        assert_eq!(answer.is_err(), number % 10 == 0);
        good += u64::from(answer.is_ok());
    }
    assert_eq!(store.verify_history().await.unwrap(), good);
    assert_eq!(*store.newest_event().borrow(), good);
    // The history goes on where it was when the file is opened again.
    store.close().await;
    let store = open(folder.path()).await;
    assert_eq!(store.begin_term(NOW).await.unwrap(), 1);
    assert_eq!(store.begin_term(NOW).await.unwrap(), 2);
    assert_eq!(store.verify_history().await.unwrap(), good + 2);
}

#[tokio::test]
async fn a_touched_history_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for keep in 1..6 {
        assert_ne!(store.apply(spec(keep), "admin:ada".to_owned(), NOW).await.unwrap().unwrap(), Applied::Unchanged);
    }
    assert_eq!(store.apply(spec(5), "admin:ada".to_owned(), NOW).await.unwrap().unwrap(), Applied::Unchanged);
    assert_eq!(store.verify_history().await.unwrap(), 5);
    let forge = |sql: &'static str| {
        store.write(move |batch| {
            Box::pin(async move {
                sqlx::query(sql).execute(batch.connection().await?).await?;
                Ok(())
            })
        })
    };
    let refused = forge("UPDATE events SET actor = 'admin:eve' WHERE sequence = 3").await.unwrap_err();
    assert!(refused.to_string().contains("never changed"), "{refused}");
    assert!(forge("DELETE FROM events WHERE sequence = 3").await.is_err());
    // Someone with the file in hand drops the triggers first.
    forge("DROP TRIGGER events_never_change").await.unwrap();
    forge("UPDATE events SET actor = 'admin:eve' WHERE sequence = 3").await.unwrap();
    let found = store.verify_history().await.unwrap_err();
    assert!(found.to_string().contains("line 3"), "{found}");
}

#[tokio::test]
async fn what_changed_in_an_environment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.apply(spec(1), "admin:ada".to_owned(), NOW).await.unwrap().unwrap();
    let mut changed = spec(2);
    changed.variables.insert(roadstead_model::VariableName::parse("KEY").unwrap(), "secret".to_owned());
    let Applied::Changed(changes) = store.apply(changed, "admin:ada".to_owned(), NOW).await.unwrap().unwrap() else { panic!("it changed") };
    assert_eq!(changes, ["keep: 1 → 2", "variables.KEY: set"]);
}

#[tokio::test]
async fn a_token_lets_one_in_however_many_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let authority = Authority::create(NOW).unwrap();
    let token = JoinToken::generate(authority.pin()).unwrap();
    let purpose = TokenPurpose::Host(EnvironmentName::parse("staging").unwrap(), Labels::parse(["role=web"]).unwrap());
    let new =
        NewToken { hash: *token.hash().as_bytes(), purpose: purpose.clone(), expires_at: NOW.plus(Millis(1000)), by: "admin:ada".into() };
    store.add_token(new, NOW).await.unwrap();
    assert_eq!(store.token(&token.hash(), NOW).await.unwrap(), Ok(purpose));
    assert_eq!(store.token(&token.hash(), NOW.plus(Millis(1000))).await.unwrap(), Err(TokenRefused::Expired));
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (store, hash) = (store.clone(), token.hash());
            let host = roadstead_driver::samples::host_record(number);
            let identity = Identity::Host(host.id.clone());
            let credentials = authority.issue_credentials(&identity, Millis::from_secs(3600), NOW).unwrap();
            tokio::spawn(async move { store.enroll_host(hash, host, CertificateRecord::from(&credentials), NOW).await.unwrap() })
        })
        .collect();
    let mut joined = 0;
    for task in tasks {
        joined += usize::from(task.await.unwrap().is_ok());
    }
    assert_eq!(joined, 1);
    let hosts = store.hosts(None).await.unwrap();
    assert_eq!(hosts.len(), 1);
    assert_eq!(store.token(&token.hash(), NOW).await.unwrap(), Err(TokenRefused::Used));
    for _ in 0..30 {
        store.token_refused(token.hash(), TokenRefused::Used, "192.0.2.7".to_owned(), NOW).await.unwrap();
    }
    let strange = JoinToken::generate(authority.pin()).unwrap();
    store.token_refused(strange.hash(), TokenRefused::Unknown, "192.0.2.7".to_owned(), NOW).await.unwrap();
    let lines = store.events(0, 0, 100).await.unwrap();
    let refused: Vec<_> = lines.iter().filter(|line| line.kind == "join-refused").collect();
    assert_eq!(refused.len(), 10, "the first ones tell enough, and a stranger's tells nothing");
    let user = format!("host:{}", hosts[0].id);
    assert_eq!(refused[0].subject, user);
    assert_eq!(refused[0].text, format!("192.0.2.7 came with a join token of admin:ada: the join token was used before by {user}"));
    store.verify_history().await.unwrap();
}

#[tokio::test]
async fn a_renewal_under_a_wrong_clock_locks_no_host_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let authority = Authority::create(NOW).unwrap();
    let token = JoinToken::generate(authority.pin()).unwrap();
    let purpose = TokenPurpose::Host(EnvironmentName::parse("staging").unwrap(), Labels::parse(["role=web"]).unwrap());
    let new = NewToken { hash: *token.hash().as_bytes(), purpose, expires_at: NOW.plus(Millis(1000)), by: "admin:ada".into() };
    store.add_token(new, NOW).await.unwrap();
    let host = roadstead_driver::samples::host_record(1);
    let identity = Identity::Host(host.id.clone());
    let given_at = |now| CertificateRecord::from(&authority.issue_credentials(&identity, Millis::from_secs(3600), now).unwrap());
    store.enroll_host(token.hash(), host.clone(), given_at(NOW), NOW).await.unwrap().unwrap();

    let (then, later) = (Timestamp(NOW.0 / 2), NOW.plus(Millis(5000)));
    store.renew_host(host.id.clone(), given_at(then), then).await.unwrap();
    assert_eq!(store.host(&host.id).await.unwrap().unwrap().certificate_not_after, host.certificate_not_after);
    let renewed = given_at(later);
    let end = renewed.not_after;
    store.renew_host(host.id.clone(), renewed, later).await.unwrap();
    assert_eq!(store.host(&host.id).await.unwrap().unwrap().certificate_not_after, end.max(host.certificate_not_after));
}

#[tokio::test]
async fn what_was_answered_survives_a_crash_at_any_moment() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path()).await;
    for keep in 1..4 {
        store.apply(spec(keep), "admin:ada".to_owned(), NOW).await.unwrap().unwrap();
        // The files as a crash right after the answer would leave them, without a word to the writer.
        let copy = copies.path().join(keep.to_string());
        std::fs::create_dir(&copy).unwrap();
        for name in ["roadstead.db", "roadstead.db-wal"] {
            std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
        }
        let found = open(&copy).await;
        assert_eq!(found.environments("").await.unwrap()[0].spec.keep, keep);
        assert_eq!(found.verify_history().await.unwrap(), u64::from(keep));
    }
}

#[tokio::test]
async fn a_restored_database_jumps_beyond_all_that_hosts_may_have_heard() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    assert_eq!((store.begin_term(NOW).await.unwrap(), store.last_rollout().await.unwrap()), (1, 0));
    store.apply(spec(3), "admin:ada".to_owned(), NOW).await.unwrap().unwrap();
    let runs = "UPDATE environments SET current = zeroblob(32), previous = zeroblob(32), current_id = '1.1-0123456789ab', \
                previous_id = '1.0-0123456789ab'";
    store
        .write(move |batch| {
            Box::pin(async move {
                sqlx::query(runs).execute(batch.connection().await?).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    assert!(store.environments("").await.unwrap()[0].current.is_some());
    assert_eq!(store.jump(NOW).await.unwrap(), 1_001);
    let environment = &store.environments("").await.unwrap()[0];
    assert_eq!((&environment.current, &environment.previous), (&None, &None), "no host is moved by what was once true");
    assert!(store.begin_term(NOW).await.unwrap() > 1_000_000);
    assert_eq!(store.last_rollout().await.unwrap(), 1_000);
    assert_eq!(store.jump(NOW).await.unwrap(), 2_001, "done twice, it does no harm");
    assert_eq!(store.verify_history().await.unwrap(), 5);
}

/// A database of before: what environments ran is known by the releases' ids, and what they said is their first configuration.
#[tokio::test]
async fn what_environments_said_and_ran_before_configurations_had_versions_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roadstead.db");
    let release = roadstead_driver::samples::release("1.0");
    let mut telling = spec(3);
    telling.name = EnvironmentName::parse("production").unwrap();
    telling.variables.insert(roadstead_model::VariableName::parse("DEBUG").unwrap(), "it's \"0\"".to_owned());
    before::database_of_before(&path, &release, &[spec(3), telling]).await;
    let store = Store::open(&path).await.unwrap();
    let app = AppName::parse("erp").unwrap();
    let (production, staging) = (EnvironmentName::parse("production").unwrap(), spec(3).name);
    let found = store.configuration(&production, &app, 1).await.unwrap().unwrap();
    assert_eq!(store.configuration_named(&production, &app, &found.content.id()).await.unwrap().unwrap().version, 1);
    assert_eq!((found.version, found.at, found.by.as_str()), (1, Timestamp(7), "admin:ada"));
    assert_eq!(found.content.applied[0].values.variables.values().collect::<Vec<_>>(), ["it's \"0\""]);
    assert_eq!(store.newest_configuration(&staging, &app).await.unwrap(), None);
    for (name, configuration) in [(production, 1), (staging, 0)] {
        let runs = Runs { release: release.reference(), configuration };
        assert_eq!(store.environment(&name, &app).await.unwrap().unwrap().current, Some(runs));
    }
    store.close().await;
}
